"""Tasks: derivatives of every loss against differences and brute force, metrics against repetition."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from hepprune import metrics, training
from hepprune.errors import DataError
from hepprune.jobs import sources
from hepprune.metrics import Conditions
from hepprune.network import Activation, Dense, Input, Network
from hepprune.pruning import masks, statistics
from hepprune.pruning.statistics import curvature, gradients
from hepprune.search.sensitivity.effects import measure
from hepprune.search.sensitivity.replay import LayerVariants
from hepprune.task import TASKS, BinaryLabel, Classes, MultiLabel, Reconstruction, Regression, Task, Tasks, find
from hepprune.task.sample import Sample
from hepprune.training import Fit

N_JETS, N_IN, N_OUT = 12, 3, 2
ONE_OUTPUT: dict[str, Task] = {
    "classes": Classes(),
    "binary": BinaryLabel(),
    "multilabel": MultiLabel(),
    "mse": Regression(),
    "huber": Regression("huber", delta=0.7),
    "relative": Regression("relative"),
    "reconstruction": Reconstruction(),
}
BOTH = Tasks({"label": Classes(), "momentum": Regression()}, {"momentum": 0.3})


def network(*, heads: int = 1, n_out: int = N_OUT) -> Network:
    """Return a tanh network with one or two heads."""
    generator = torch.Generator().manual_seed(5)

    def dense(name: str, n_in: int, n_out: int) -> Dense:
        return Dense(name, torch.randn(n_out, n_in, generator=generator), torch.randn(n_out, generator=generator) / 2)

    layers = [Input("x", N_IN), dense("first", N_IN, 4), Activation("act", "tanh"), dense("label", 4, n_out)]
    sources: dict[str, tuple[str, ...]] = {"first": ("x",), "act": ("first",), "label": ("act",)}
    if heads == 1:
        return Network(layers, sources).double()
    return Network([*layers, dense("momentum", 4, 1)], sources | {"momentum": ("act",)}, ["label", "momentum"]).double()


def n_out(task: Task) -> int:
    """Return how many values the only output of a task has here."""
    return 1 if isinstance(task, BinaryLabel) else N_IN if isinstance(task, Reconstruction) else N_OUT


def targets(task: Task) -> Tensor:
    """Return targets that make sense of all outputs but those of a reconstruction."""
    rng = np.random.default_rng(3)
    if isinstance(task, Classes):
        return torch.tensor(rng.integers(0, N_OUT, N_JETS))
    shape = (N_JETS, n_out(task))
    values = rng.integers(0, 2, shape) if isinstance(task, MultiLabel) else 1 + rng.random(shape)
    return torch.tensor(values, dtype=torch.float64)


def sample(task: Task, *, weighted: bool = False) -> Sample:
    """Return jets of a task, with weights of mean one if asked."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N_JETS, N_IN, generator=generator, dtype=torch.float64)
    weight = torch.rand(N_JETS, generator=generator, dtype=torch.float64) if weighted else None
    y: Tensor | tuple[Tensor, ...] = x.clone() if isinstance(task, Reconstruction) else targets(task)
    if isinstance(task, Tasks):
        y = (targets(Classes()), targets(Regression())[:, :1])
    return Sample(x, y, None if weight is None else weight / weight.mean(), task)


CASES = [
    pytest.param(task, weighted, id=f"{name}{', weighted' * weighted}")
    for name, task in {**ONE_OUTPUT, "two heads": BOTH}.items()
    for weighted in (False, True)
]


def of(task: Task) -> Network:
    return network(heads=2) if isinstance(task, Tasks) else network(n_out=n_out(task))


def loss_of(net: Network, jets: Sample) -> float:
    with torch.no_grad():
        return float(jets.loss(net.raw(jets.x)))


@pytest.mark.parametrize(("task", "weighted"), CASES)
def test_obd_is_the_second_difference_of_the_loss(*, task: Task, weighted: bool) -> None:
    net, jets, step = of(task), sample(task, weighted=weighted), 1e-4
    found = curvature.hessian(net, jets)
    for kernel in net.kernels:
        flat = kernel.weight.detach().view(-1)
        for index, second in enumerate(found[kernel.name].weight.flatten().tolist()):
            before, losses = flat[index].item(), []
            for move in (-step, 0.0, step):
                flat[index] = before + move
                losses.append(loss_of(net, jets))
            flat[index] = before
            assert second == pytest.approx((losses[0] - 2 * losses[1] + losses[2]) / step**2, abs=2e-6)


def per_jet(net: Network, jets: Sample, name: str) -> list[Tensor]:
    """Return the gradient of each jet's own loss, without its weight."""
    weight = net.kernel(name).weight
    rows = (jets.taking(slice(i, i + 1)) for i in range(len(jets)))
    return [torch.autograd.grad(row.task.each(net.raw(row.x), row.y).sum(), weight)[0] for row in rows]


@pytest.mark.parametrize(("task", "weighted"), CASES)
def test_fisher_and_taylor_are_means_over_jets_of_their_own_gradients(*, task: Task, weighted: bool) -> None:
    net, jets = of(task), sample(task, weighted=weighted)
    fisher, taylor = statistics.gather(net, jets, batch_size=5), gradients.gather(net, jets, batch_size=5)
    weight = torch.ones(N_JETS).double() if jets.weight is None else jets.weight
    for kernel in net.kernels:
        each = torch.stack(per_jet(net, jets, kernel.name))
        share = weight[:, None, None]
        assert torch.allclose(fisher[kernel.name].weight_fisher, (share * each**2).mean(dim=0), atol=1e-12)
        assert torch.allclose(taylor[kernel.name].weight_signed, (share * each).mean(dim=0), atol=1e-12)


@pytest.mark.parametrize(("task", "weighted"), CASES)
def test_gauss_newton_is_the_hessian_of_linearised_outputs(*, task: Task, weighted: bool) -> None:
    net, jets = of(task), sample(task, weighted=weighted)
    found = curvature.gauss_newton(net, jets, batch_size=5)
    for kernel in net.kernels:
        total = torch.zeros_like(kernel.weight)
        for i in range(N_JETS):
            row = jets.taking(slice(i, i + 1))
            raw = net.raw(row.x)
            sizes = [each.shape[1] for each in raw]
            flat = torch.cat(raw, dim=1)[0]
            slopes = [torch.autograd.grad(out, kernel.weight, retain_graph=True, allow_unused=True)[0] for out in flat]
            jacobian = torch.stack([torch.zeros_like(kernel.weight) if s is None else s for s in slopes])
            second = torch.autograd.functional.hessian(
                lambda out, row=row, sizes=sizes: row.task.each(torch.split(out[None], sizes, dim=1), row.y).sum(),
                flat.detach(),
            )
            share = 1.0 if jets.weight is None else jets.weight[i]
            total += share * torch.einsum("oab,op,pab->ab", jacobian, second, jacobian) / N_JETS
        assert torch.allclose(found[kernel.name].weight, total, atol=1e-10)


@pytest.mark.parametrize(("task", "weighted"), CASES)
def test_effects_are_those_of_two_networks_on_the_same_jets(*, task: Task, weighted: bool) -> None:
    net, jets = of(task), sample(task, weighted=weighted)
    layer = masks.with_cut(net["first"], masks.Cut("first", "weight", (0, 5)))
    ((effect,),) = measure(net, jets, [LayerVariants((layer,))])
    other = net.replacing({"first": layer})
    assert effect.loss.value == pytest.approx(loss_of(other, jets) - loss_of(net, jets), abs=1e-9)
    (name, *_) = task.metrics
    with torch.no_grad():
        after, before = (jets.scores(each.raw(jets.x))[name] for each in (other, net))
    expected = metrics.difference(after, before)
    assert (effect.primary.value, effect.primary.error) == pytest.approx((expected.value, expected.error), abs=1e-9)


@pytest.mark.parametrize(("task", "weighted"), CASES)
def test_training_lowers_the_loss_and_a_teacher_is_half_of_each_target(*, task: Task, weighted: bool) -> None:
    jets, net = sample(task, weighted=weighted), of(task)
    fitted, history = training.fit(net, jets, jets, settings=Fit(epochs=30, batch_size=4, learning_rate=1e-2), seed=1)
    assert loss_of(fitted, jets) < loss_of(net, jets)
    best = training.scores(fitted, jets)[task.metrics[0]]
    assert (best.value, best.error) in [(epoch.score, epoch.score_error) for epoch in history]
    with torch.no_grad():
        said = net.raw(jets.x)
    taught = task.taught(jets.y, said)
    pairs = zip(taught, jets.y, said, strict=True) if isinstance(task, Tasks) else [(taught, jets.y, said[0])]
    for mixed, truth, own in pairs:
        sure = isinstance(task, MultiLabel), mixed.shape[1] == N_OUT and truth.ndim == 1
        told = torch.sigmoid(own) if sure[0] else torch.softmax(own, 1) if sure[1] else own
        wanted = torch.nn.functional.one_hot(truth, N_OUT) if sure[1] else truth
        assert torch.allclose(mixed.double(), (wanted + told) / 2)


@pytest.mark.parametrize("learns_signal", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_teacher_leaves_signal_as_it_is(n_outputs: int, *, learns_signal: bool) -> None:
    own = Reconstruction(learns_signal=learns_signal)
    task = own if n_outputs == 1 else Tasks({"a": own, "b": own})
    values, signal = torch.rand(6, 4) + 1, torch.tensor([0.0, 1, 0, 1, 1, 0])
    y = task.targets((*(values,) * n_outputs, signal))
    raw = (torch.zeros_like(values),) * n_outputs
    before, after = task.each(raw, y), task.each(raw, task.taught(y, raw))
    assert torch.allclose(after, before / 4)  # half of each target
    assert bool((after[signal == 0] > 0).all())
    assert bool((after[signal == 1] > 0).all()) is learns_signal


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_a_jet_of_weight_three_counts_as_three_jets(name: str) -> None:
    rng = np.random.default_rng(9)
    values, counts = np.round(rng.normal(size=(40, 3)), 1), rng.integers(1, 4, 40)
    truth = (
        rng.integers(0, 3, 40) if name in {"accuracy", "auc", "cross_entropy"} else rng.integers(0, 2, (40, 3)) + 1.0
    )
    if name.startswith("label"):
        truth = truth - 1
    weighted = metrics.find(name)(values, truth, counts.astype(float))
    repeated = metrics.find(name)(np.repeat(values, counts, axis=0), np.repeat(truth, counts, axis=0))
    assert weighted.value == pytest.approx(repeated.value, abs=1e-12)
    assert weighted.influence.mean() == pytest.approx(0, abs=1e-12)
    plain, ones = metrics.find(name)(values, truth), metrics.find(name)(values, truth, np.ones(40))
    assert (ones.value, ones.error) == pytest.approx((plain.value, plain.error), abs=1e-12)


def test_the_error_of_a_weighted_mean_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(2)
    values, truth, weight = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1)), rng.exponential(size=2000)
    error = metrics.find("mean_squared_error")(values, truth, weight).error
    draws = rng.integers(0, 2000, (400, 2000))
    again = [metrics.find("mean_squared_error")(values[d], truth[d], weight[d]).value for d in draws]
    assert error == pytest.approx(float(np.std(again)), rel=0.15)


@pytest.mark.parametrize("name", ["accuracy", "label_auc", "mean_squared_error", "mean_squared_relative_error"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_paired_error_of_every_primary_metric_is_that_of_a_bootstrap(name: str, *, weighted: bool) -> None:
    rng, n = np.random.default_rng(4), 1000
    truth = {"accuracy": rng.integers(0, 2, n), "label_auc": rng.integers(0, 2, (n, 1))}.get(
        name, 1 + rng.random((n, 2))
    )
    first = (np.eye(2)[truth] if name == "accuracy" else truth) + rng.normal(size=(n, 2 if name != "label_auc" else 1))
    second = first + 0.5 * rng.normal(size=first.shape)
    weight, metric = rng.exponential(size=n) if weighted else np.ones(n), metrics.find(name)

    def change(rows: Any) -> metrics.Score | Any:
        return metrics.difference(*(metric(values[rows], truth[rows], weight[rows]) for values in (first, second)))

    found = change(np.arange(n))
    again = [change(rows).value for rows in rng.integers(0, n, (300, n))]
    assert found.error == pytest.approx(float(np.std(again)), rel=0.2)
    apart = np.hypot(*(metric(values, truth, weight).error for values in (first, second)))
    assert found.error < apart  # the jets are the same


@pytest.mark.parametrize(
    ("task", "y", "said"),
    [
        (Classes(), [0.25, 0.75, 1.9], "a class is a whole number, 0.25 is not"),
        (Classes(), [[0.3, 0.3], [0.5, 0.5]], "probabilities that add up to one"),
        (MultiLabel(), [[0, 2]], "lie between 0"),
        (BinaryLabel(), [[0, 1]], "has one target a jet, not 2"),
        (Regression(), [1.0, np.nan], "is not finite"),
        (Regression("relative"), [1.0, 0.0], "is zero"),
        (BOTH, [[0, 1]], "tasks of 2 outputs"),
    ],
)
def test_targets_of_another_task_are_refused(task: Task, y: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        task.targets(y)


@pytest.mark.parametrize(
    ("task", "n_out", "y", "said"),
    [
        (Classes(), 1, [0, 1], "puts out one value, as a sigmoid does; it needs one for each of two or more classes"),
        (Classes(), 2, [0, 2], "tells 2 classes apart, 0 to 1, and a jet is of class 2"),
        (Classes(), 2, [0, -1], "tells 2 classes apart, 0 to 1, and a jet is of class -1"),
        (Classes(), 2, [[0.5, 0.25, 0.25], [0, 0, 1]], "puts out 2 values, and the jets have 3 targets"),
        (BinaryLabel(), 2, [0, 1], "puts out 2 values, and the jets have 1 targets"),
        (MultiLabel(), 1, [[0, 1], [1, 1]], "puts out 1 values, and the jets have 2 targets"),
        (Regression(), 3, [[0, 1], [1, 1]], "puts out 3 values, and the jets have 2 targets"),
        (Regression(), 3, ([[0, 1], [1, 1]], [0, 1]), "puts out 3 values, and the jets have 2 targets"),
        (
            Tasks({"a": BinaryLabel()}),
            2,
            [[0, 1]],
            "output 'a': the network puts out 2 values, and the jets have 1 targets",
        ),
        (BOTH, 2, [[0, 1], [0, 1]], "tasks of 2 outputs .* are given 1"),
    ],
)
def test_targets_that_outputs_cannot_meet_are_refused_everywhere(task: Task, n_out: int, y: Any, said: str) -> None:
    mlp = training.multilayer_perceptron(3, (4,), n_out, seed=1)
    jets = Sample.from_arrays(np.ones((2, 3)), y, task=task)
    for refuses in (
        lambda: training.fit(mlp, jets, jets, settings=Fit(epochs=1), seed=1),
        lambda: statistics.gather(mlp, jets),
        lambda: jets.scores(mlp.raw(jets.x)),
        lambda: sources.check(mlp, jets, model="m.onnx", data="jets.npz"),
    ):
        with pytest.raises(DataError, match=said):
            refuses()


def test_a_teacher_that_tells_other_classes_apart_is_refused() -> None:
    pupil, teacher = (training.multilayer_perceptron(3, (4,), n_out, seed=1) for n_out in (2, 4))
    jets = Sample.from_arrays(np.ones((2, 3)), [0, 1])
    with pytest.raises(DataError, match="puts out 2 values, and the jets have 4 targets"):
        training.fit(pupil, jets, jets, settings=Fit(epochs=1), seed=1, teacher=teacher)


def test_targets_in_a_pair_with_signal_go_with_a_network() -> None:
    jets = Sample.from_arrays(np.ones((2, 3)), ([[0, 1], [1, 1]], [0, 1]), task=Regression())
    sources.check(training.multilayer_perceptron(3, (4,), 2, seed=1), jets, model="m.onnx", data="jets.npz")
    with pytest.raises(DataError):
        sources.check(training.multilayer_perceptron(3, (4,), 3, seed=1), jets, model="m.onnx", data="jets.npz")


@pytest.mark.parametrize("task", [MultiLabel(), Regression(), Regression("huber"), Regression("relative")])
def test_an_output_of_several_axes_is_that_of_as_many_values(task: Task) -> None:
    raw = torch.linspace(-1, 1, 24).reshape(4, 2, 3)
    y = task.targets(torch.linspace(0.1, 1, 24).reshape(4, 6))
    for each in ("each", "taught"):
        arguments = (raw, y) if each == "each" else (y, raw)
        flat = (raw.flatten(1), y) if each == "each" else (y, raw.flatten(1))
        assert torch.equal(getattr(task, each)(*arguments), getattr(task, each)(*flat))
    found, wanted = (torch.stack(task.directions(values, y)) for values in (raw, raw.flatten(1)))
    assert found.shape == (6, 4)
    assert torch.equal(found, wanted)
    task.check(raw, y)


@pytest.mark.parametrize(
    ("x", "y", "weight", "task", "said"),
    [
        (np.array([["a"], ["b"]]), [0, 1], None, Classes(), "jets are arrays of numbers"),
        (np.ones((2, 1)), ["q", "g"], None, Classes(), "jets are arrays of numbers"),
        (3.0, [0], None, Classes(), "not the single number 3"),
        (np.ones((2, 1)), 3.0, None, Regression(), "not the single number 3"),
        ((), [0, 1], None, Classes(), "a sample has no jets"),
        (np.ones((2, 1)), [0, 1], [[1], [1]], Classes(), r"one number a jet, and these have the shape \(2, 1\)"),
        (np.ones((2, 1)), {"a": [0, 1]}, None, Tasks({"a": BinaryLabel(), "b": BinaryLabel()}), "outputs a, b, and are given of a"),
        (np.ones((2, 1)), {}, None, Tasks({"a": BinaryLabel()}), "of the outputs a, and are given of none"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_jets_are_refused(x: Any, y: Any, weight: Any, task: Task, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Sample.from_arrays(x, y, weight, task=task)


@pytest.mark.parametrize("names", [(), ("", "a"), ("a.b", "c")])
def test_outputs_without_a_name_of_their_own_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="tasks of several outputs are none" if not names else "a name without dots"):
        Tasks({name: BinaryLabel() for name in names})


def test_mistakes_end_in_one_sentence() -> None:
    with pytest.raises(DataError, match="unknown task 'clases'; choose one of: classes"):
        find("clases")
    with pytest.raises(DataError, match="unknown loss of a regression 'mape'"):
        Regression("mape")
    with pytest.raises(DataError, match="unknown output 'pt'"):
        Tasks({"label": Classes()}, {"pt": 1.0})
    with pytest.raises(DataError, match="must be above zero"):
        Tasks({"label": Classes()}, {"label": 0.0})
    with pytest.raises(DataError, match="one output is judged by this task and 2 are given"):
        sample(BOTH).task.outputs["label"].each(network(heads=2).raw(sample(BOTH).x), torch.zeros(N_JETS).long())  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="the parts of a sample have 3, 4 jets"):
        Sample(torch.zeros(3, 1), torch.zeros(4))
    with pytest.raises(DataError, match="weights of jets"):
        Sample.from_arrays(np.zeros((3, 1)), [0, 1, 0], [1, -1, 1])


SCORED = {
    "classes": (Classes(), ["auc(1/0)", "rejection(0.5)", "calibration_error", "accuracy"]),
    "multilabel": (MultiLabel(), ["auc(1)", "efficiency_at_background(30 %, 0)", "label_auc"]),
    "regression": (Regression(), ["bias", "resolution(68 %, relative)", "mean_squared_relative_error"]),
}


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_task_takes_metrics_with_arguments_that_suit_it(name: str, *, weighted: bool) -> None:
    task, names = SCORED[name]
    rng = np.random.default_rng(4)
    raw, weight = rng.normal(size=(200, 2)), rng.exponential(size=200) if weighted else None
    truth = {"classes": rng.integers(0, 2, 200), "multilabel": rng.integers(0, 2, (200, 2)) * 1.0}
    y = truth.get(name, 1 + rng.random((200, 2)))
    jets = Sample.from_arrays(np.zeros((200, 1)), y, weight, task=task)
    found = jets.scores((torch.tensor(raw),), names)
    own = [each for each in task.metrics if each in names]
    assert list(found) == own + [each for each in names if each not in own]
    for each, score in found.items():
        share = None if jets.weight is None else jets.weight.double().numpy()
        expected = metrics.find(each)(raw, jets.truth, share)
        assert (score.value, score.error) == pytest.approx((expected.value, expected.error))


def test_conditions_fill_in_what_names_leave_out() -> None:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 3000)
    raw = rng.normal(size=(3000, 3)) + np.eye(3)[y]
    task = Classes(Conditions(classes=("minimum bias", "t", "W"), n_bunches=2760))
    names = ["efficiency_at_rate(3 MHz, t/minimum bias)", "auc(t/W)"]
    found = task.scores(raw, y, names=names)
    same = Classes().scores(raw, y, names=["efficiency_at_rate(3 MHz, 1/0, n_bunches=2760)", "auc(1/2)"])
    assert [each.value for each in found.values()] == [each.value for each in same.values()]
    assert repr(task) == repr(Classes())  # what is kept under the task's name stays
    both = Tasks({"label": task, "momentum": Regression()})
    heads = (raw, raw[:, :1]), (y, raw[:, :1] + 1)
    assert both.scores(*heads, names=["label.auc(t/W)", "momentum.bias"])["momentum.bias"].value == pytest.approx(-1)


def test_metrics_that_do_not_suit_a_task_are_refused_before_anything_is_computed() -> None:
    nothing: np.ndarray = np.zeros((0, 2))
    for task, name in {
        Classes(): "bias",
        Regression(): "accuracy",
        MultiLabel(): "resolution",
        Reconstruction(): "label_auc",
    }.items():
        with pytest.raises(DataError, match=f"unknown metric '{name}'; choose one of"):
            task.scores(nothing, nothing, names=[task.metrics[0], name])
    for name in ("speed.bias", "label.bias", "bias"):
        with pytest.raises(DataError, match="unknown metric"):
            BOTH.scores((), (), names=[name])


@pytest.mark.parametrize("task", [Reconstruction(), Reconstruction(conditions=Conditions(n_bunches=2760))])
def test_an_autoencoder_is_judged_by_the_signal_it_loses(task: Reconstruction) -> None:
    rng = np.random.default_rng(6)
    signal = rng.random(2000) < 0.3
    x = rng.normal(size=(2000, 4)) * (1 + signal[:, None])
    jets = Sample.from_arrays(x, (x, signal), task=task)
    net = training.multilayer_perceptron(4, (2,), 4, seed=1)
    with torch.no_grad():
        raw = net.raw(jets.x)
    lost = ((raw[0].double().numpy() - jets.features.double().numpy()) ** 2).mean(axis=1)
    found = jets.scores(raw, ["auc", "efficiency_at_background(10 %)", "auc(mu2)", "mean_squared_error"])
    assert found["auc"].value == pytest.approx(roc_auc_score(signal, lost))
    assert found["auc(mu2)"].value == pytest.approx(roc_auc_score(signal, (raw[0].double().numpy() ** 2).sum(axis=1)))
    assert found["mean_squared_error"].value == pytest.approx(lost.mean())
    assert float(jets.loss(raw)) == pytest.approx(lost.mean(), rel=1e-5)
    fitted, _ = training.fit(
        net,
        jets,
        jets,
        settings=Fit(epochs=3, batch_size=500, learning_rate=1e-2, quantised=False),
        teacher=net,
        seed=1,
    )
    assert loss_of(fitted, jets) < loss_of(net, jets)
    assert len(jets.first(5).truth[1]) == 5
    with pytest.raises(DataError, match="whether a jet is signal is 0 or 1"):
        task.targets((x, 2 * signal))
    with pytest.raises(DataError, match="whether it is signal"):
        Sample.from_arrays(x, x, task=task).scores(raw, ["auc(mse)"])
    with pytest.raises(DataError, match="whether it is signal"):
        Sample.from_arrays(x, signal, task=Regression()).scores((raw[0][:, :1],), ["auc"])  # numbers are not labels


def test_samples_of_other_labels_weights_or_tasks_have_other_keys() -> None:
    base = sample(Classes())
    others = [
        replace(base, y=base.y.flip(0)),  # type: ignore[union-attr]
        replace(base, weight=torch.ones(N_JETS)),
        replace(base, task=Regression()),
        base.first(5),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5
    assert base.key == sample(Classes()).key


@pytest.mark.parametrize(
    ("task", "want", "got", "same"),
    [
        (Classes(), [[0.1, 0.5], [0.2, 0.1], [0.3, 0.3]], [[0.4, 0.5], [0.1, 0.2], [0.9, 0.1]], [True, False, True]),
        (MultiLabel(), [[0.1, -1.0], [0.5, -0.1]], [[2.0, -0.5], [0.5, 0.1]], [True, False]),
        (Regression(), [[0.5, 1.0], [0.5, 1.0]], [[0.5, 1.0], [0.5, 1.25]], [True, False]),
    ],
)
def test_firmware_agrees_where_it_says_the_same(
    task: Task, want: list[list[float]], got: list[list[float]], same: list[bool]
) -> None:
    first, second = np.array(want), np.array(got)
    assert task.agrees(first, second).tolist() == same
    both = Tasks({"one": task, "other": Regression()})
    other = np.arange(len(want), dtype=float)[:, None]
    assert both.agrees((first, other), (second, other)).tolist() == same
    assert not both.agrees((first, other), (second, other + 1)).any()


def test_there_is_a_task_for_every_name() -> None:
    assert {name: kind().metrics[0] for name, kind in TASKS.items()} == {
        "classes": "accuracy",
        "binary": "label_auc",
        "multilabel": "label_auc",
        "regression": "mean_squared_error",
        "reconstruction": "mean_squared_error",
    }
