import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Network
from hepprune.pruning import masks, plan
from hepprune.pruning.structure import blocks
from hepprune.studies import iterative
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import transformer, weighted

FINE_TUNE = Fit(epochs=2, batch_size=512, learning_rate=3e-3, weight_decay=0.01)


def test_history_follows_the_schedule_and_ends_at_the_target(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    calls: list[int] = []
    options = {"schedule": "geometric", "sparsity": 0.8, "rounds": 3, "fine_tune": FINE_TUNE, "advance": calls.append}
    pruned, history = iterative.prune(tagger, *jets, **options)
    again, _ = iterative.prune(tagger, *jets, **options)
    assert [entry.target for entry in history] == pytest.approx([0, 1 - 0.2 ** (1 / 3), 1 - 0.2 ** (2 / 3), 0.8])
    assert all(entry.sparsity >= entry.target - 0.005 for entry in history)
    assert history[-1].sparsity == plan.sparsity(pruned)
    assert [entry.seconds for entry in history] == sorted(entry.seconds for entry in history)
    assert all(0 < (entry.scores["accuracy"].error or 0) < 0.05 and entry.loss > 0 for entry in history)
    assert len(calls) == 2 * 3 * FINE_TUNE.epochs
    assert all(
        torch.equal(a, b) for a, b in zip(pruned.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_masks_hold_through_training_and_grow(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    start = masks.apply(tagger, [masks.Cut("dense_2", "weight", tuple(range(40)))])
    pruned, _ = iterative.prune(start, *jets, schedule=[0.4, 0.5], method="fisher", fine_tune=FINE_TUNE)
    assert not pruned["dense_2"].used_weight().flatten()[:40].any()
    before, after = ([la.digit_limit == 0 for la in weighted(net)] for net in (start, pruned))
    assert all((b <= a).all() for b, a in zip(before, after, strict=True))
    assert sum(int(a.sum()) for a in after) == round(0.5 * sum(a.numel() for a in after))


@pytest.mark.slow
def test_fine_tuning_in_rounds_keeps_what_one_shot_loses(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    _, history = iterative.prune(
        tagger, *jets, sparsity=0.85, rounds=4, fine_tune=Fit(epochs=4, batch_size=256, learning_rate=5e-3)
    )
    once = plan.prune(tagger, sparsity=0.85)
    _, validation = jets
    lost = (once.logits(validation.features).argmax(1) == validation.y).double().mean().item()
    last = history[-1].scores["accuracy"]
    assert last.value > lost + 3 * (last.error or 0)


def test_neurons_go_too(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    options = {"granularity": "neuron", "method": "obd", "scope": "local", "fine_tune": FINE_TUNE}
    pruned, _ = iterative.prune(tagger, *jets, schedule=[0.25, 0.5], statistics_jets=500, **options)
    for layer in weighted(pruned)[:-1]:
        assert int((layer.digit_limit == 0).all(dim=1).sum()) == layer.n_out // 2


def test_blocks_leave_in_rounds() -> None:
    network = transformer(heads=2)
    sample = Sample(torch.randn(40, 4, 3), torch.randint(0, 3, (40,)))
    options = {
        "granularity": "layer",
        "method": "loss_change",
        "fine_tune": Fit(epochs=1, batch_size=40, learning_rate=1e-3, quantised=False),
    }
    half, _ = iterative.prune(network, sample, sample, schedule=[0.5], **options)
    none, history = iterative.prune(network, sample, sample, schedule=[0.5, 1.0], **options)
    assert len(blocks.blocks(half)) == 1
    assert list(none.layers) == ["x", "stem", "pool", "classes"]
    assert [entry.target for entry in history] == [0, 0.5, 1.0]


def test_a_layer_left_empty_is_refused(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    with pytest.raises(NetworkError, match="would be left empty"):
        iterative.prune(tagger, *jets, schedule=[1.0], fine_tune=FINE_TUNE)
