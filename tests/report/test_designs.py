"""What pictures of designs need comes back as it was written, and everything is drawn from it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepprune.errors import ReportError
from hepprune.files import stored
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.report import designs, plots
from hepprune.report.designs import Counted, Designs, Judged
from hepprune.report.plots import distributions, gallery, physics
from hepprune.report.plots.physics import Scored

WEIGHTS = np.array([0.5, 0.0, -0.25, 0.0, 0.5, 0.5])
ESTIMATE = Estimate(
    stage="da4ml",
    strategy="distributed_arithmetic",
    resources=Resources(lut=100.0),
    latency_cycles=2,
    interval_cycles=1,
    clock_ns=25.0,
    layers=(LayerEstimate(layer="dense_1", resources=Resources(lut=100.0), depth=5.0),),
)
DESIGNS = Designs(
    before=Counted.of(WEIGHTS),
    after=Counted.of(WEIGHTS[:3]),
    estimates={"baseline": ESTIMATE, "hepprune": ESTIMATE},
    measured_ns={"hepprune": 25.0},
    budget_ns=50.0,
    layers=("dense_1 weight",),
    levels=(0.5, 0.9),
    changes=((0.01, 0.2),),
    unit="nat",
)
RNG = np.random.default_rng(1)
TRUTH = RNG.uniform(20, 100, (3000, 1))
LABELS = RNG.integers(0, 3, 3000)
PROBABILITIES = RNG.dirichlet(np.ones(3), 3000) / 2 + np.eye(3)[LABELS] / 2
SIGNAL = (RNG.random(3000) < 0.2).astype(np.float32)


def test_designs_come_back_and_are_drawn(tmp_path: Path) -> None:
    stored.write(designs.Designs, tmp_path / designs.FILE, DESIGNS)
    found = designs.read(tmp_path / designs.FILE)
    assert found == DESIGNS
    assert np.array_equal(np.repeat(found.before.values, found.before.counts), np.sort(WEIGHTS))
    drawn = designs.draw(found, tmp_path / "plots")
    assert [*drawn] == ["weights", "latency", "sensitivity"]
    assert len(list((tmp_path / "plots").iterdir())) == 6
    assert designs.read(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"before": {"values": [0.5], "counts": [-1]}}, "counts.0: Input should be greater than or equal to 1"),
        ({"after": {"values": [0.5, 1.0], "counts": [2]}}, "after has 2 values and 1 counts"),
        ({"after": {"values": [float("inf")], "counts": [2]}}, "after has values that are not finite"),
        ({"changes": [[0.01]]}, "changes are not of 1 layers and 2 levels each"),
        ({"bits_after": {"relu_1": {"values": [6.0, 7.0], "counts": [2]}}}, "bits_after.relu_1 has 2 values and 1"),
        (
            {"bits_before": {"relu_1": {"values": [1e9], "counts": [2]}}},
            "relu_1 has bits that are not between 0 and 64",
        ),
        ({"changes": []}, "changes are not of 1 layers and 2 levels each"),
    ],
)
def test_parts_that_do_not_go_together_are_one_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / designs.FILE
    stored.write(designs.Designs, path, DESIGNS)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ReportError, match=re.escape(said)):
        designs.read(path)


def test_any_number_of_weights_is_drawn_without_being_written_out(tmp_path: Path) -> None:
    many = Counted((0.0, 0.5), (10**15, 1))
    assert designs.draw(replace(DESIGNS, before=many, after=many, layers=(), changes=()), tmp_path)["weights"]


def test_bits_are_drawn_where_values_of_a_layer_have_different_ones(tmp_path: Path) -> None:
    one, several = Counted((6.0,), (5,)), Counted((0.0, 3.0, 4.0), (1, 2, 2))
    before = {"features": one, "relu_1": one}
    alike = replace(DESIGNS, bits_before=before, bits_after=before)
    assert "bits" not in designs.draw(alike, tmp_path)
    own = replace(alike, bits_after={"features": one, "relu_1": several, "new": one})
    stored.write(designs.Designs, tmp_path / designs.FILE, own)
    assert designs.read(tmp_path / designs.FILE) == own
    assert [path.name for path in designs.draw(own, tmp_path)["bits"]] == ["bits.png", "bits.pdf"]


def test_what_an_older_version_has_written_is_read_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / designs.FILE
    stored.write(designs.Designs, path, DESIGNS)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in content.items() if not name.startswith("bits")}))
    assert designs.read(path) == DESIGNS


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / designs.FILE).write_text('{"before": 3}')
    with pytest.raises(ReportError, match=r"designs\.json' is damaged or of another version"):
        designs.read(tmp_path / designs.FILE)


def forms(values: Any) -> dict[str, Any]:
    return {"baseline": values, "uniform": 0.9 * values, "hepprune": 0.99 * values, "firmware": 0.99 * values}


OUTPUTS = {
    "classes": Judged(name="flavour", kind="classes", names=("g", "$q", "t"), truth=LABELS, forms=forms(PROBABILITIES)),
    "values": Judged(name="", kind="values", names=("true_pt",), truth=TRUTH, forms=forms(TRUTH)),
    "labels": Judged(
        name="", kind="labels", names=("is_up", "is_out"), truth=np.eye(3)[LABELS][:, :2], forms=forms(PROBABILITIES)
    ),
    "reconstructed": Judged(
        name="",
        kind="values",
        names=("a", "b", "c"),
        truth=PROBABILITIES * (1 + SIGNAL[:, None]),
        forms=forms(PROBABILITIES),
        signal=SIGNAL,
        n_bunches=600,
        score="mse",
    ),
}


PLOTS = {
    "classes": ["roc_flavour", "confusion_flavour", "scores_flavour_0", "scores_flavour_1", "scores_flavour_2"],
    "values": ["response", "turn_on"],
    "labels": ["roc_0", "scores_0", "roc_1", "scores_1"],
    "reconstructed": ["roc", "scores", "rate"],
}


def test_what_is_judged_comes_back(tmp_path: Path) -> None:
    written = tuple(OUTPUTS.values())
    for before, after in zip(
        written, designs.read_judged(designs.write_judged(written, tmp_path / designs.JUDGED_FILE)), strict=True
    ):
        assert (after.name, after.kind, after.names) == (before.name, before.kind, before.names)
        assert np.array_equal(after.truth, before.truth)
        assert (after.signal is None) == (before.signal is None)
        for name, values in before.forms.items():
            assert np.array_equal(after.forms[name], values)  # so that what is drawn again has the same ties


def test_what_plots_are_of_is_told_by_the_names_of_classes_and_values() -> None:
    captions = gallery.captions([replace(OUTPUTS["classes"], names=("g", "$q", "t")), OUTPUTS["labels"]])
    assert captions["_flavour"] == "flavour"
    assert [captions[f"_flavour_{index}"] for index in range(3)] == ["flavour, g", "flavour, $q", "flavour, t"]
    assert (captions[""], captions["_0"], captions["_1"]) == ("", "is_up", "is_out")


def test_no_output_writes_plots_outside_their_folder(tmp_path: Path) -> None:
    strange = replace(OUTPUTS["values"], name="/../../escaped")
    with pytest.raises(ReportError, match="is damaged"):
        designs.read_judged(designs.write_judged((strange,), tmp_path / designs.JUDGED_FILE))


def test_a_truth_that_is_nearly_always_the_same_has_no_turn_on() -> None:
    assert physics.has_turn_on(TRUTH[:, 0])
    assert not physics.has_turn_on(np.where(np.arange(3000) < 10, TRUTH[:, 0], 0.0))
    assert not physics.has_turn_on(np.ones(3000))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"{}"])
def test_what_cannot_be_read_is_refused_in_a_sentence(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / designs.JUDGED_FILE
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError, match="hepprune run|run the recipe again"):
        designs.read_judged(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OUTPUTS)
def test_each_output_gets_the_plots_of_its_kind(kind: str, tmp_path: Path) -> None:
    drawn = gallery.draw([OUTPUTS[kind]], tmp_path)
    assert [*drawn] == PLOTS[kind]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{suffix}" for name in drawn for suffix in ("png", "pdf")
    )


@pytest.mark.slow
def test_the_rate_and_the_turn_on_are_those_of_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}

    def written(figure: Any, path: Path) -> list[Path]:
        for axes in figure.axes:
            shown.setdefault(path.name, []).append({line.get_label(): line.get_xydata() for line in axes.lines})
        shown["title"] = figure.axes[0].get_title(loc="left")
        return plots.save(figure, path)

    monkeypatch.setattr(physics, "save", written)
    scores = np.arange(1.0, 1001)
    physics.rates([Scored("baseline", "-", scores)], np.zeros(1000), 600, "mse", tmp_path / "rate")
    x, y = shown["rate"][0]["baseline"].T
    assert y == pytest.approx([11.246 * 600 * np.mean(scores > each) for each in x])
    assert y[-1] == pytest.approx(11.246 * 600 * 10 / 1000)
    form = Scored("firmware", "o", TRUTH[:, 0] + 1000 * (TRUTH[:, 0] > 30))
    physics.turn_on([form], TRUTH[:, 0], "pt", tmp_path / "turn_on")
    x, y = shown["turn_on"][0]["firmware"].T
    assert (y[x < 26] == 0).all()
    assert (y[x > 37] == 1).all()


@pytest.mark.slow
def test_the_confusion_is_that_of_the_largest_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def written(figure: Any, path: Path) -> list[Path]:
        shown.extend(np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images)
        with plots.labelled("a $label"):
            files = plots.save(figure, path)
        assert figure.axes[0].get_title(loc="left") == "a $label"
        return files

    monkeypatch.setattr(distributions, "save", written)
    truth, taken = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    distributions.confusion({"hepprune": np.eye(2)[taken]}, truth, ("$a", "b"), tmp_path / "confusion")
    assert shown[0] == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]))
