from collections.abc import Callable
from pathlib import Path

import pytest

from hepprune import executors
from hepprune.errors import NetworkError
from hepprune.metrics.scores import Stated
from hepprune.network import Network
from hepprune.pruning import masks
from hepprune.studies import comparison
from hepprune.studies.comparison import Contest, Entry, Method
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import weighted
from tests.search.toy import toy_price


def luts(network: Network) -> float | None:
    return toy_price(network).resources.lut


@pytest.fixture(scope="module")
def contest(jets: tuple[Sample, Sample]) -> Contest:
    methods = tuple(Method.parse(text) for text in ("magnitude", "random", "fisher:neuron@local"))
    return Contest(
        train=jets[0],
        validation=jets[1],
        test=jets[1],
        methods=methods,
        fine_tune=Fit(epochs=1, batch_size=512, learning_rate=3e-3),
        luts=luts,
        sparsities=(0.3, 0.6),
    )


@pytest.fixture(scope="module")
def entries(tagger: Network, contest: Contest) -> list[Entry]:
    return comparison.run(lambda _: tagger, contest, seeds=(1, 2))


def test_every_method_meets_every_sparsity_and_seed(entries: list[Entry], contest: Contest) -> None:
    places = [(entry.method, entry.sparsity, entry.seed) for entry in entries if entry.method != "unpruned"]
    assert len(places) == len(set(places)) == 2 * len(contest.methods) * len(contest.sparsities)
    for entry in entries:
        assert list(entry.scores) == ["accuracy", "auc", "cross_entropy"]
        assert all(0 < (score.error or 0) < 0.05 for score in entry.scores.values())
        if entry.method in {"magnitude", "random"}:
            assert entry.zeros >= entry.sparsity - 0.005  # those that round to zero come on top
    assert {entry.seed for entry in entries if entry.method == "unpruned"} == {1, 2}


def test_more_sparsity_never_costs_more(entries: list[Entry]) -> None:
    for name in ("magnitude", "random", "fisher:neuron@local"):
        first, second = ((e.zeros, e.lut) for e in entries if e.method == name and e.seed == 1)
        assert first[0] < second[0]
        assert first[1] > second[1]


def test_neurons_that_are_cut_take_what_they_feed_with_them(entries: list[Entry], tagger: Network) -> None:
    whole = next(entry for entry in entries if entry.method == "unpruned")
    assert whole.zeros == 1 - masks.nonzero_weights(tagger) / sum(la.weight.numel() for la in weighted(tagger))
    neurons = next(entry for entry in entries if entry.method == "fisher:neuron@local" and entry.sparsity == 0.6)
    assert neurons.zeros > 0.7  # 0.4 x 0.4 of the middle layer is left


def test_a_contest_that_was_interrupted_goes_on(
    tagger: Network, contest: Contest, entries: list[Entry], tmp_path: Path
) -> None:
    def stop_after(n: int) -> Callable[[int], None]:
        left = iter(range(n))

        def advance(_: int) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        return advance

    with pytest.raises(KeyboardInterrupt):
        comparison.run(lambda _: tagger, contest, seeds=(1, 2), state=tmp_path, advance=stop_after(3))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert len(before) == 4
    assert comparison.run(lambda _: tagger, contest, seeds=(1, 2), state=tmp_path) == entries
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


@pytest.mark.slow
def test_workers_compare_the_same(tagger: Network, contest: Contest, entries: list[Entry]) -> None:
    reported: list[int] = []
    with executors.open("processes:2") as pool:
        shared = comparison.run(lambda _: tagger, contest, seeds=(1, 2), executor=pool, advance=reported.append)
    assert shared == entries
    assert sum(reported) == 2 * len(contest.methods) * len(contest.sparsities)


def test_gaps_are_between_equal_seeds() -> None:
    def entry(method: str, seed: int, accuracy: float) -> Entry:
        return Entry(
            method=method, seed=seed, sparsity=0.5, zeros=0.5, scores={"accuracy": Stated(accuracy, 0.01)}, lut=None
        )

    pairs = [("a", 1, 0.70), ("a", 2, 0.60), ("b", 1, 0.72), ("b", 2, 0.621)]
    first, second = comparison.points([entry(*pair) for pair in pairs])
    assert (first.method, first.scores["accuracy"].value, first.gap.value) == ("a", pytest.approx(0.65), 0)
    assert first.scores["accuracy"].error == pytest.approx(0.05)  # seeds differ by much
    assert second.gap.value == pytest.approx(0.0205)
    assert second.gap.error == pytest.approx(0.0005)  # methods of one seed do not
    assert second.significant
    assert not first.significant
    assert comparison.points([entry("a", 1, 0.7)])[0].scores["accuracy"].error is None


@pytest.mark.parametrize("text", ["magnitude", "obs@local", "fisher:neuron", "magnitude_l1:dsp_row@local"])
def test_a_method_reads_as_it_prints(text: str) -> None:
    assert str(Method.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("magnitud", "unknown criterion 'magnitud'; choose one of: magnitude"),
        ("magnitude:nueron", "unknown granularity 'nueron'; choose one of: neuron"),
        ("magnitude:2:4", "has one sparsity only"),
        ("magnitude@here", "unknown scope 'here'"),
    ],
)
def test_a_method_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        Method.parse(text)


@pytest.mark.parametrize(
    ("sparsities", "said"), [((0.7, 0.5), "0.7"), ((0.5, 1.2), "between 0 and 1"), ((), "no sparsities")]
)
def test_sparsities_that_cannot_be_are_refused(
    jets: tuple[Sample, Sample], sparsities: tuple[float, ...], said: str
) -> None:
    with pytest.raises(NetworkError, match=said):
        Contest(
            train=jets[0],
            validation=jets[1],
            test=jets[1],
            methods=(Method("magnitude"),),
            fine_tune=Fit(epochs=1),
            luts=luts,
            sparsities=sparsities,
        )
