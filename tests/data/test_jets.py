"""Jets and their split: no event leaks, nothing depends on the rest of the file, arrays cannot be changed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data import Jets, read, split
from hepprune.data.jets import Flatten, checked
from hepprune.errors import DataError

EDGES = (0.0, 10.0, 25.0, 60.0, 200.0)


def sample(event: np.ndarray) -> Jets:
    n = len(event)
    x = np.stack([event % 97, np.arange(n)], axis=-1)
    return Jets(
        x=x,
        y=np.arange(n) % 5,
        weight=np.ones(n),
        event=event,
        feature_names=("a", "b"),
        class_names=("g", "q", "W", "Z", "t"),
    )


@given(
    seed=st.integers(0, 2**32),
    n_events=st.integers(60, 300),
    per_event=st.integers(1, 4),
    start=st.integers(-(2**62), 2**62),
)
def test_every_jet_falls_into_one_sample_and_every_event_too(
    seed: int, n_events: int, per_event: int, start: int
) -> None:
    jets = sample(start + np.arange(n_events).repeat(per_event))
    parts = split(jets, (0.5, 0.25, 0.25), seed=seed)
    assert sum(map(len, parts)) == len(jets)
    assert sorted(row for part in parts for row in part.x[:, 1]) == list(range(len(jets)))
    events = [set(part.event.tolist()) for part in parts]
    assert len(set().union(*events)) == sum(map(len, events)) == n_events


@given(seed=st.integers(0, 2**32))
def test_the_sample_of_an_event_does_not_depend_on_other_jets(seed: int) -> None:
    event = np.arange(400)
    whole, half = split(sample(event), (0.6, 0.4), seed=seed), split(sample(event[::2]), (0.6, 0.4), seed=seed)
    for part, of_half in zip(whole, half, strict=True):
        assert of_half.event.tolist() == [number for number in part.event.tolist() if number % 2 == 0]


def test_fractions_are_met_within_their_error_and_seeds_are_independent() -> None:
    jets = sample(np.arange(100_000) * 1_000_000)
    fractions = (0.6, 0.15, 0.25)
    first, other = split(jets, fractions, seed=1), split(jets, fractions, seed=2)
    for part, fraction in zip(first, fractions, strict=True):
        assert abs(len(part) - fraction * 1e5) < 5 * np.sqrt(1e5 * fraction * (1 - fraction))
    common = np.intersect1d(first[0].event, other[0].event)
    assert abs(len(common) - 0.36e5) < 5 * np.sqrt(1e5 * 0.36 * 0.64)


@pytest.mark.parametrize("fractions", [(), (0.5,), (0.5, 0.6), (1.5, -0.5), (1.0, 0.0)])
def test_fractions_that_do_not_share_out_everything_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="add up to 1"):
        split(sample(np.arange(10)), fractions, seed=1)


def test_too_few_jets_to_split_are_refused() -> None:
    with pytest.raises(DataError, match="1 jets are too few to split"):
        split(sample(np.arange(1)), (0.5, 0.5), seed=1)


def test_arrays_are_read_only_and_of_their_types() -> None:
    jets = sample(np.arange(10))
    for array, dtype in ((jets.x, np.float32), (jets.y, np.int64), (jets.weight, np.float32), (jets.event, np.int64)):
        assert array.dtype == dtype
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert not jets.take(jets.y == 1).x.flags.writeable


def test_taking_jets_leaves_the_array_they_came_from_writeable() -> None:
    event = np.arange(10)
    sample(event)
    assert event.flags.writeable


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"differ in length: .*'y': 2"):
        Jets(
            x=np.ones((3, 1)),
            y=np.ones(2),
            weight=np.ones(3),
            event=np.ones(3),
            feature_names=("a",),
            class_names=("g",),
        )


def test_unnamed_features_are_refused() -> None:
    with pytest.raises(DataError, match="does not hold the 1 features named"):
        Jets(
            x=np.ones((3, 2)),
            y=np.ones(3),
            weight=np.ones(3),
            event=np.ones(3),
            feature_names=("a",),
            class_names=("g",),
        )


@given(seed=st.integers(0, 2**32), weighted=st.booleans())
def test_every_bin_of_every_class_weighs_the_same(seed: int, weighted: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 3000)
    pt = np.clip(rng.exponential(20 * (y + 1)), 0, 199)
    own = rng.random(3000).astype(np.float32) + 0.1 if weighted else np.ones(3000, np.float32)
    found = Flatten(column="pt", edges=EDGES).weights(pt, y, own)
    assert found.mean() == pytest.approx(1, rel=1e-5)
    sums = np.array([np.histogram(pt[y == c], EDGES, weights=found[y == c])[0] for c in range(3)])
    assert sums[sums > 0] == pytest.approx(sums.max(), rel=1e-4)
    if weighted:
        same = (y == 1) & (pt < 10)
        assert found[same] / own[same] == pytest.approx(np.full(same.sum(), found[same][0] / own[same][0]), rel=1e-5)


def test_jets_beyond_the_edges_count_to_the_last_bins_and_are_read_with_their_weights() -> None:
    arrays: dict[str, Any] = {"pt": np.array([-5.0, 5, 15, 300, 150]), "label": np.zeros(5, int)}
    wanted = Flatten(column="pt + 0", edges=(0, 10, 100, 200))
    jets = read(arrays, features=["pt"], classes=("a", "b"), event=None, flatten=wanted)
    assert jets.weight == pytest.approx(np.array([1, 1, 2, 1, 1]) * 5 / 6)
    with pytest.raises(DataError, match="the jets in a bin of 'pt' weigh nothing"):
        weight = "where(pt == 15, 0, 1)"
        read(
            arrays,
            features=["pt"],
            label=None,
            event=None,
            weight=weight,
            flatten=Flatten(column="pt", edges=(0, 10, 100, 200)),
        )


@pytest.mark.parametrize("edges", [(), (1.0,), (1.0, 1.0), (2.0, 1.0)])
def test_edges_that_make_no_bins_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="edges of bins rise, and there are two or more"):
        checked(edges)
