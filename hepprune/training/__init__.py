"""Fit and fine-tune a Network in torch: quantisers stay on, pruned weights stay pruned, the best epoch is kept."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune import metrics
from hepprune.errors import NetworkError
from hepprune.network import Dense, Input, Network, ReLU
from hepprune.network.layers import Layer
from hepprune.task.sample import Sample
from hepprune.training import devices, epochs
from hepprune.training.devices import current
from hepprune.training.optimiser import AdamW, one_cycle
from hepprune.training.passes import Pass, Penalty, Validated, loss, validate


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How to train: passes over the jets, jets per step, the peak learning rate of a one-cycle schedule.

    The best epoch is that of the least validation loss, or of the best metric that `monitor` names, of those that
    differ in it by less than their paired error that of the least loss. With `patience` training stops after so many
    epochs without a better one.
    """

    epochs: int
    batch_size: int = 1024
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    patience: int | None = None
    quantised: bool = True
    monitor: str = "loss"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass: mean training loss, validation loss, the primary metric with its error, seconds since the start."""

    epoch: int
    training_loss: float
    loss: float
    score: float
    score_error: float
    seconds: float


# Given the network in training, which it may change in place, and the fraction of the training that will have passed
# after the next epoch: whether that epoch may be the one that is restored in the end.
Prepare = Callable[[Network, float], bool]


def multilayer_perceptron(n_features: int, hidden: tuple[int, ...], n_classes: int, *, seed: int) -> Network:
    """Return a float network of dense layers with ReLU between them, He-initialised (He et al., arXiv:1502.01852)."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[Layer] = [Input("features", n_features)]
    sizes = (n_features, *hidden, n_classes)
    for index, (n_in, n_out) in enumerate(itertools.pairwise(sizes), start=1):
        weight = torch.randn(n_out, n_in, generator=generator) * (2 / n_in) ** 0.5
        layers.append(Dense(f"dense_{index}", weight, torch.zeros(n_out)))
        if index <= len(hidden):
            layers.append(ReLU(f"relu_{index}"))
    return Network(layers)


def fit(
    network: Network,
    train: Sample,
    validation: Sample,
    *,
    settings: Fit,
    seed: int,
    teacher: Network | None = None,
    penalty: Penalty | None = None,
    prepare: Prepare = lambda *_: True,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Network, tuple[Epoch, ...]]:
    """Return a trained copy, restored to its best epoch on the validation jets, and its history.

    The loss is that of the jets' task; with a `teacher` what it puts out is half of each target (distillation, Hinton,
    Vinyals and Dean, arXiv:1503.02531). A `penalty` is added to it. `prepare` may prune the
    network before each epoch, and says whether that epoch may be the one restored. `advance(1)` is called after each.

    Raises:
        DataError: the network or its teacher cannot meet the targets, or the loss is no longer finite.
        NetworkError: nothing in the network is trained.
    """
    with _threads(network):
        train = _taught(network, train, validation, teacher)
        generator, start = torch.Generator().manual_seed(seed), time.perf_counter()
        network, train, validation = network.clone().to(current()), train.on(current()), validation.on(current())
        taken = _pass(network, len(train), settings, penalty)
        history: list[Epoch] = []
        best, best_epoch = _state(network), 0
        kept: Validated | None = None
        for epoch in range(1, settings.epochs + 1):
            with _brought_back(network, taken.optimiser):
                eligible = prepare(network, epoch / settings.epochs)
            learned = taken(network, train, torch.randperm(len(train), generator=generator))
            found = _validated(network, validation, settings, taken)
            spent, (score, error) = time.perf_counter() - start, (found.primary.value, found.primary.error)
            done = {"loss": found.loss, "score": score, "score_error": error, "seconds": spent}
            history.append(Epoch(epoch=epoch, training_loss=learned, **done))
            advance(1)
            if eligible and (kept is None or found.beats(kept)):
                best, kept, best_epoch = _state(network), found, epoch
            if settings.patience is not None and epoch - best_epoch >= settings.patience:
                break
        network.load_state_dict(best, assign=True)  # arrays of its own again
        return network.to(devices.CPU), tuple(history)


@torch.no_grad()
def _taught(network: Network, train: Sample, validation: Sample, teacher: Network | None) -> Sample:
    """Return the jets to train on, half of each target what a teacher puts out, if the network can learn from them."""
    if not any(parameter.numel() for parameter in network.parameters()):
        constants = ", ".join(f"'{layer.name}'" for layer in network if layer.fixed)
        kept = f", which are those of {constants}" if constants else ""
        raise NetworkError(f"nothing in the network is trained: it has no weights but constants{kept}")
    for known, jets in ((teacher or network, train), (network, validation)):
        check(known, jets)
    if teacher is not None:
        train = replace(train, y=train.task.taught(train.y, teacher.raw(train.x)))
    check(network, train)
    return train


def _pass(network: Network, n_jets: int, settings: Fit, penalty: Penalty | None) -> Pass:
    n_steps = settings.epochs * -(-n_jets // settings.batch_size)
    return Pass(
        optimiser=AdamW(network.parameters(), weight_decay=settings.weight_decay),
        rates=one_cycle(settings.learning_rate, n_steps),
        batch_size=settings.batch_size,
        quantised=settings.quantised,
        penalty=penalty,
        is_long=n_steps >= epochs.LEAST,
    )


@torch.no_grad()
def check(network: Network, sample: Sample) -> None:
    """Refuse jets whose targets the outputs of a network cannot meet.

    Raises:
        DataError: they cannot.
    """
    sample.check(network.raw(sample.first(1).x))


@contextmanager
def _threads(network: Network) -> Iterator[None]:
    """Keep a small network's steps on one core: sharing products of this size costs more than it saves."""
    before = torch.get_num_threads()
    if sum(parameter.numel() for parameter in network.parameters()) < epochs.SHARED_FROM:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _brought_back(network: Network, optimiser: AdamW) -> Iterator[None]:
    """Have a network on the processor while the block changes it."""
    if current() == devices.CPU:
        yield
        return
    network.to(devices.CPU)
    yield
    network.to(current())
    optimiser.hold()


def _state(network: Network) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in network.state_dict().items()}


@torch.no_grad()
def _validated(network: Network, validation: Sample, settings: Fit, taken: Pass) -> Validated:
    found = validate(taken.raw(network, validation), validation, monitor=settings.monitor)
    if taken.penalty is None:
        return found
    return replace(found, regret=float(loss(network, validation, penalty=taken.penalty, quantised=settings.quantised)))


@torch.no_grad()
def evaluate(network: Network, sample: Sample, *, quantised: bool = True) -> NDArray[np.float64]:
    """Return the only output before its head, (n_jets, n_out): of a classifier the logits."""
    there, jets = placed(network, sample)
    return there.logits(jets.x, quantised=quantised).double().cpu().numpy()


@torch.no_grad()
def scores(
    network: Network, sample: Sample, *, names: Iterable[str] | None = None, quantised: bool = True
) -> dict[str, metrics.Score]:
    """Return metrics of the sample's task, all or those named, the primary one first."""
    there, jets = placed(network, sample)
    return sample.scores(there.raw(jets.x, quantised=quantised), names)


@torch.no_grad()
def validated(network: Network, validation: Sample, *, monitor: str) -> Validated:
    """Judge a network on validation jets by what is monitored, "loss" or the name of a metric."""
    there, jets = placed(network, validation)
    return validate([each.cpu() for each in there.raw(jets.x)], validation, monitor=monitor)


def placed(network: Network, sample: Sample) -> tuple[Network, Sample]:
    """Return a network and jets on the device: themselves on the processor, else copies."""
    return network if current() == devices.CPU else network.clone().to(current()), sample.on(current())
