"""The recipes of other networks than chains, small: each from jets to a measured design that equals its network."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepprune import pipeline, recipe, training
from hepprune.data.production import trigger, writing
from hepprune.errors import DataError
from hepprune.hardware import targets
from hepprune.pipeline import pictures, taggers
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe
from hepprune.report.summary import Summary

ROOT = Path(__file__).parent.parent
PROJECTS = ROOT / "hls_projects"
JETS = f"{ROOT / 'datasets' / 'jets_constituents.root'}:Jets"
IMAGES = f"{ROOT / 'datasets' / 'calo_regions.root'}:Jets"
LATENCY_NS = {"anomaly": 50, "calo_regression": 87.5}  # of their targets
# Every kind of plot is drawn in one of these.
PLOTS = {"anomaly": ("pareto", "sensitivity"), "deepsets": ("pareto", "sensitivity", "roc_flavour", "response_ratio")}
# What makes each small enough for CI, section by section.
SMALL: dict[str, dict[str, Any]] = {
    "deepsets": {"data": {"n_constituents": 3}, "architecture": {"phi": (6,), "rho": (6,)}},
    "anomaly": {
        "data": {"features": ("MET_hwPt", "leading(L1EG_hwPt, 2)", "leading(L1Jet_hwPt, 2)")},
        "model": {"hidden": (4, 2)},  # all in one stage, of which the mapping of Yosys takes more than in proportion
        "objective": "efficiency_at_rate(5 kHz)",
        "metrics": ("auc",),
    },
    "anomaly_encoder": {
        "data": {
            "features": ("MET_hwPt", "MET_hwPhi", "leading(L1EG_hwPt, 2)", "leading(L1Jet_hwPt, 4)"),
            "teacher": {"hidden": (8, 2, 8), "epochs": 10, "batch_size": 64},
        },
        "model": {"hidden": (6,), "training": {"float_epochs": 10, "epochs": 10, "batch_size": 64}},
    },
    "jet_image": {
        "data": {"image": {"bins": (6, 6)}},
        "architecture": {"filters": (2,), "rho": (4,)},
    },
    "calo_regression": {
        "data": {
            "image": {"bins": (9, 7)},
            "teacher": {"architecture": {"filters": (4,), "rho": (16, 4)}, "epochs": 6},
        },
        "architecture": {"filters": (2,), "rho": (4,)},
        "model": {"training": {"float_epochs": 20, "epochs": 20, "batch_size": 64}},
    },
}


def test_every_recipe_can_be_loaded_and_is_named_as_its_folder() -> None:
    found = {path.parent.name: recipe.load(path) for path in sorted(PROJECTS.glob("*/recipe.yaml"))}
    assert {
        "jet_tagger",
        "deepsets",
        "interaction",
        "gru",
        "attention",
        "jet_image",
        "anomaly",
        "anomaly_encoder",
        "calo_regression",
    } <= set(found)
    assert [*found] == [each.name for each in found.values()]
    files = {
        Path(str(each.data.file)).name for each in found.values() if each.data.make and each.data.make.kind == "jets"
    }
    assert files == {"jets_constituents_100k.root:Jets"}
    assert all(each.data.make for name, each in found.items() if name != "jet_tagger")


def test_the_page_has_the_budgets_of_the_recipes() -> None:
    page = (ROOT / "docs/architectures.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \| ([\d.]+) ns, ([\d.]+) of the LUT \|$", page, re.MULTILINE)
    assert len(rows) == 5
    for name, target, latency, share in rows:
        wanted = recipe.load(PROJECTS / name / "recipe.yaml")
        assert (wanted.target, wanted.budget.latency_ns, wanted.budget.lut_of_baseline) == (
            target,
            float(latency),
            float(share),
        )


def small(name: str, jets: str = JETS) -> Recipe:
    whole, changes = recipe.load(PROJECTS / name / "recipe.yaml"), SMALL[name]
    content = whole.model_dump(exclude_unset=True, exclude={"synthesis"})
    data = content["data"] | {"file": jets, "max_jets": 6000}
    content["data"] = merged({key: value for key, value in data.items() if key != "make"}, changes["data"])
    content["model"] |= {"training": {"float_epochs": 4, "epochs": 4}} | changes.get("model", {})
    if "architecture" in changes:
        content["model"]["architecture"] |= changes["architecture"]
    content |= {"objective": "loss"} | {key: changes[key] for key in ("objective", "metrics") if key in changes}
    limits = dict.fromkeys(whole.max_losses, 9.0)
    content["n_bunches"] = 20  # so that enough of a few thousand events pass at a few kHz
    content["budget"] = {"latency_ns": LATENCY_NS.get(name, 150), "lut_of_baseline": 0.5, "max_loss": limits}
    content["search"] = {"stages": 3, "step": 0.2, "fine_tune_epochs": 1, "settle_epochs": 4, "trim_epochs": 1}
    content["checks"] = {"csim_vectors": 500, "rtl_vectors": 300}
    return Recipe.model_validate(content)


def merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a section with changes in it and in its sections."""
    deeper = {
        key: merged(content[key], value) for key, value in changes.items() if isinstance(value, dict) and key in content
    }
    return content | changes | deeper


@pytest.fixture(scope="module", params=[name for name in SMALL if name != "anomaly_encoder"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp(request.param)
    jets = seen_by_a_trigger(folder / "l1.root") if request.param == "anomaly" else JETS
    recipe = small(request.param, IMAGES if request.param == "calo_regression" else jets)
    return folder / "build", pipeline.run(recipe, build=folder / "build", plots=request.param in PLOTS)


def seen_by_a_trigger(path: Path) -> str:
    """Write events with the columns of `hepprune data make --kind l1_objects`, the signal of larger momenta."""
    rng, n_events = np.random.default_rng(1), 6000
    label = (rng.random(n_events) < 0.2).astype(np.int32)
    columns: dict[str, Any] = {"event": np.arange(n_events), "label": label}
    columns |= {"MET_hwPt": rng.exponential(40 + 60 * label), "MET_hwPhi": rng.integers(0, 144, n_events)}
    for name, (most, mean) in {"L1EG": (4, 15), "L1Mu": (4, 8), "L1Jet": (10, 50)}.items():
        counts = columns[f"n_{name}"] = rng.integers(1, most + 1, n_events).astype(np.int32)
        owner = np.repeat(label, counts)
        columns[f"{name}_hwPt"] = rng.exponential(mean * (1 + owner))
        columns[f"{name}_hwEta"] = rng.integers(-60, 60, len(owner))
        columns[f"{name}_hwPhi"] = rng.integers(0, 144, len(owner))
    whole = {name: np.asarray(values).astype(np.int32) for name, values in columns.items()}
    writing.write(path, whole, order=np.arange(n_events), metadata={}, collections=trigger.COLLECTIONS)
    return f"{path}:Jets"


def test_an_encoder_alone_tells_signal_by_the_sum_of_its_squares(tmp_path: Path) -> None:
    wanted = small("anomaly_encoder", seen_by_a_trigger(tmp_path / "l1.root"))
    context = Context(recipe=wanted, target=targets.load(wanted.target), build=tmp_path / "build")
    jets = taggers.read_jets(context)
    encoder = taggers.baseline(context, jets, None)
    assert encoder.widths[encoder.raw_outputs[0]] == 2
    found = training.scores(encoder, jets.test, names=wanted.judged_by)
    assert found["correlation"].value > 0.7  # with the latent values of the autoencoder
    assert found["efficiency_at_rate(10 kHz)"].value > 0.09  # of minimum bias 4.4 % pass
    squares = (training.evaluate(encoder, jets.test) ** 2).sum(axis=1)
    assert found["auc"].value == pytest.approx(roc_auc_score(jets.test.truth[1], squares))


@pytest.mark.parametrize("what", ["objective", "metrics"])
def test_a_rate_that_too_few_events_decide_is_refused_before_anything_is_cut(what: str, tmp_path: Path) -> None:
    rare = "efficiency_at_rate(0.1 kHz)"
    asked = small("anomaly", seen_by_a_trigger(tmp_path / "l1.root")).model_dump(exclude_unset=True)
    wanted = Recipe.model_validate(asked | {what: rare if what == "objective" else [rare]})
    with pytest.raises(
        DataError, match=r"at a rate of 0\.1 kHz only .* background jets pass, of which an error needs 10"
    ):
        pipeline.run(wanted, build=tmp_path / "build")
    kept = {path.name.partition("-")[0] for path in (tmp_path / "build" / "state").glob("*")}
    assert kept <= {"baseline"}


@pytest.mark.slow
@pytest.mark.xdist_group("recipes")
def test_the_design_fits_and_equals_its_network_at_every_output(ran: tuple[Path, Summary]) -> None:
    build, summary = ran
    assert summary.feedback[-1].met
    assert summary.compressed.measured is not None
    for name, limit in summary.budget.items():
        figure = getattr(summary.compressed.measured, name)
        assert figure is None or figure <= limit, name
    assert (summary.checks.csim_mismatches, summary.checks.rtl_mismatches) == (0, 0)
    assert summary.compressed.nonzero_weights < summary.baseline.nonzero_weights
    close = 0.5 if "anomaly" in str(build) else 0.15  # so few levels deep, each step of its cost is large
    assert summary.uniform.solved_lut == pytest.approx(summary.compressed.solved_lut, rel=close)
    for plot in PLOTS.get(build.parent.name.rstrip("0"), ()):
        assert (build / "plots" / f"{plot}.png").stat().st_size > 5000
    if "anomaly" in str(build):
        assert summary.budget["latency_ns"] == 50
        for scores in (summary.compressed.scores, summary.compressed_minus_uniform.scores, summary.search[0].scores):
            assert next(iter(scores)) == "efficiency_at_rate(5 kHz)"  # the objective leads
        assert summary.compressed.scores["efficiency_at_rate(5 kHz)"].value > 0.03  # at random: 2 % of minimum bias
        drawn = pictures.redraw(build, build / "again", label="CMS Simulation")
        assert {f"{name}.png" for name in drawn} == {path.name for path in (build / "plots").glob("*.png")}
        assert {"pareto", "weights", "latency", "sensitivity", "roc", "scores", "rate"} <= set(drawn)
        assert (build / "plots" / "rate.pdf").read_bytes() != (build / "again" / "rate.pdf").read_bytes()
    if "calo" in str(build):
        assert summary.budget["interval_cycles"] == 4
        assert summary.compressed.scores["correlation"].value > 0.6
        assert summary.compressed.scores["efficiency_at_rate(20 kHz)"].value > 0.2
    if "deepsets" in str(build):
        assert {"flavour.accuracy", "ratio.resolution(68 %)", "flavour.auc(t)"} <= set(summary.compressed.scores)
