"""The recipes of other networks than chains, small: each from jets to a measured design that equals its network."""

from pathlib import Path
from typing import Any

import pytest

from hepprune import pipeline, recipe
from hepprune.recipe import Recipe
from hepprune.report.summary import Summary

ROOT = Path(__file__).parent.parent
PROJECTS = ROOT / "hls_projects"
JETS = f"{ROOT / 'datasets' / 'jets_constituents.root'}:Jets"
# What makes each small enough for CI, section by section.
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "deepsets": {"data": {"n_constituents": 6}, "architecture": {"phi": (8,), "rho": (8,)}},
    "jet_image": {
        "data": {"image": {"bins": (8, 8)}},
        "architecture": {"filters": (3,), "rho": (6,)},
    },
}


def test_every_recipe_can_be_loaded_and_is_named_as_its_folder() -> None:
    found = {path.parent.name: recipe.load(path) for path in sorted(PROJECTS.glob("*/recipe.yaml"))}
    assert {"jet_tagger", "deepsets", "interaction", "gru", "attention", "jet_image"} <= set(found)
    assert [*found] == [each.name for each in found.values()]
    files = {Path(each.data.file).name for name, each in found.items() if name != "jet_tagger"}
    assert files == {"jets_constituents_100k.root:Jets"}


def small(name: str) -> Recipe:
    whole, changes = recipe.load(PROJECTS / name / "recipe.yaml"), SMALL[name]
    content = whole.model_dump(exclude_unset=True)
    data = content["data"] | {"file": JETS, "max_jets": 6000}
    data["image"] = data.get("image", {}) | changes["data"].get("image", {})
    data |= {key: value for key, value in changes["data"].items() if key != "image"}
    content["data"] = {key: value for key, value in data.items() if key != "make" and value != {}}
    content["model"]["architecture"] |= changes["architecture"]
    content["model"]["training"] = {"float_epochs": 4, "epochs": 4}
    limits = dict.fromkeys(whole.max_losses, 9.0)
    content["budget"] = {"latency_ns": 150, "lut_of_baseline": 0.5, "max_loss": limits}
    content["search"] = {"stages": 3, "step": 0.2, "fine_tune_epochs": 1, "settle_epochs": 4, "trim_epochs": 1}
    content["checks"] = {"csim_vectors": 500, "rtl_vectors": 300}
    return Recipe.model_validate(content)


@pytest.fixture(scope="module", params=SMALL)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    build = tmp_path_factory.mktemp(request.param) / "build"
    return build, pipeline.run(small(request.param), build=build)


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
    assert summary.uniform.solved_lut == pytest.approx(summary.compressed.solved_lut, rel=0.15)
    for plot in ("pareto", "sensitivity", "roc_flavour" if "deepsets" in str(build) else "roc"):
        assert (build / "plots" / f"{plot}.png").stat().st_size > 5000
    if "deepsets" in str(build):
        assert (build / "plots" / "response_ratio.png").stat().st_size > 5000
        assert {"flavour.accuracy", "ratio.resolution(68 %)", "flavour.auc(t)"} <= set(summary.compressed.scores)
