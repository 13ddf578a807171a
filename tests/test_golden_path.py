"""The whole street on a small budget: jets from ROOT to measured firmware, with every real tool."""

import json
from pathlib import Path

import pytest

from hepprune import metrics, network, pipeline, recipe
from hepprune.errors import ReportError
from hepprune.fixed import interface
from hepprune.hardware import targets
from hepprune.jobs import pages as results
from hepprune.network import exact_logits
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe
from hepprune.report import page as pages
from hepprune.report import summary as summaries
from hepprune.synthesis.ledger import Ledger
from tests.browser import opened
from tests.networks import weighted

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("golden path")]  # one run for all of them


@pytest.fixture(scope="module")
def small() -> Recipe:
    return recipe.load(ROOT / "tests/small.yaml")


@pytest.fixture(scope="module")
def built(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("golden") / "build"
    pipeline.run(small, build=build)
    return build


def test_the_measured_design_meets_the_budget(built: Path) -> None:
    summary = json.loads((built / "summary.json").read_text())
    measured = summary["compressed"]["measured"]
    for name, limit in summary["budget"].items():
        assert measured[name] <= limit, name
    assert measured["lut"] > 0
    assert measured["stage"] == summary["feedback"][-1]["measured"]["stage"]
    assert summary["feedback"][-1]["met"]
    assert measured["clock"] in {"met", "assumed"}


def test_every_form_of_the_network_agrees(built: Path) -> None:
    checks = summaries.read(built / "summary.json").checks
    assert (checks.csim_mismatches, checks.rtl_mismatches) == (0, 0)
    assert checks.csim_vectors == 5000
    assert checks.rtl_vectors == 2000
    assert checks.csim_agreement == 1.0


def test_the_network_that_comes_out_is_the_one_described(built: Path, small: Recipe) -> None:
    summary = summaries.read(built / "summary.json")
    jets = taggers.read_jets(Context(recipe=small, target=targets.load(small.target), build=built))
    found = network.load(built / "network.npz")
    score = metrics.accuracy(exact_logits(found, jets.test.features.numpy()), jets.test.y.numpy())
    told = summary.compressed.scores["accuracy"]
    assert (score.value, score.error) == pytest.approx((told.value, told.error), rel=1e-9)
    assert tuple(layer.n_out for layer in weighted(found)) == summary.compressed.layer_sizes
    assert summary.compressed.nonzero_weights < summary.baseline.nonzero_weights


def test_taggers_are_compared_on_the_test_jets_by_every_metric(built: Path, small: Recipe) -> None:
    summary = summaries.read(built / "summary.json")
    context = Context(recipe=small, target=targets.load(small.target), build=built)
    jets = taggers.read_jets(context)
    gap, labels = summary.compressed_minus_baseline, jets.test.y.numpy()
    logits = [
        exact_logits(each, jets.test.features.numpy())
        for each in (network.load(built / "network.npz"), taggers.baseline(context, jets, None))
    ]
    lost = metrics.difference(*(metrics.cross_entropy(each, labels) for each in logits))
    told = gap.scores["cross_entropy"]
    assert (told.value, told.error) == pytest.approx((lost.value, lost.error))
    for name, change in gap.scores.items():
        after, before = summary.compressed.scores[name], summary.baseline.scores[name]
        assert change.value == pytest.approx(after.value - before.value)
        assert 0 < change.error < (after.error or 0) + (before.error or 0)
    assert gap.significant == gap.scores["accuracy"].significant


def test_everything_predicted_and_measured_is_in_the_ledger(built: Path, small: Recipe) -> None:
    summary = summaries.read(built / "summary.json")
    stage = summary.feedback[-1].measured.stage
    with Ledger(built / "ledger.sqlite") as book:
        pairs = book.pairs(stage, strategy=small.strategy)
    assert [pair[1].resources.lut for pair in pairs] == [turn.measured.lut for turn in summary.feedback]


def test_plots_and_projects_are_on_disk(built: Path) -> None:
    for plot in ("pareto", "resources", "sensitivity", "roc", "weights", "predictions", "latency"):
        assert (built / "plots" / f"{plot}.png").stat().st_size > 5000
        assert (built / "plots" / f"{plot}.pdf").stat().st_size > 1000
    assert "csynth_design" in (built / "hls" / "build_prj.tcl").read_text()
    assert list((built / "verilog").glob("*/src/small_rtl.v"))


def test_what_feeds_the_design_is_on_disk_and_in_the_summary(built: Path, small: Recipe) -> None:
    files = summaries.read(built / "summary.json").files
    own = interface.read(Path(files["scaler"]))
    assert own.verilog is not None
    assert (built / own.verilog / "src" / f"{own.top}.v").is_file()
    assert str(built / own.verilog) == files["Verilog"]
    assert [feature.name for feature in own.inputs[0].features] == list(small.data.features)
    assert [word.name for word in own.output_words] == list(small.data.classes)
    assert "int small_features_words(" in Path(files["scaler as C header"]).read_text()
    for name in ("inputs.hex", "outputs.hex"):
        assert len((Path(files["patterns"]) / name).read_text().splitlines()) == 1000


def test_a_second_run_reads_what_the_first_one_kept(built: Path, small: Recipe) -> None:
    first = summaries.read(built / "summary.json")
    results = [path for part in ("state", "verilog", "hls") for path in (built / part).rglob("*") if path.is_file()]
    written = {path: path.stat().st_mtime_ns for path in results}
    second = pipeline.run(small, build=built)
    assert {path: path.stat().st_mtime_ns for path in results} == written
    assert second.feedback == first.feedback
    assert second.compressed == first.compressed
    assert second.uniform == first.uniform
    assert second.compressed_minus_uniform == first.compressed_minus_uniform


@pytest.fixture(scope="module")
def page(built: Path) -> Path:
    return pages.write(results.of(built), built / "report.html")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_the_run_opens_in_a_browser_and_all_can_read_it(page: Path, width: int) -> None:
    with opened(page, width=width) as browser:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        broken = [each for each in axe.Axe().run(browser.page).response["violations"] if each["impact"] != "minor"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in broken] == []
        assert browser.page.locator(".verdict strong").inner_text() == "The measured design meets its limits"
        fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert browser.page.evaluate(fits)  # tables scroll, the page does not
        assert browser.complaints == []
        assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def test_the_layers_are_sorted_by_the_column_that_is_pressed(page: Path) -> None:
    with opened(page) as browser:
        table = browser.page.locator("section", has=browser.page.locator("h2", has_text="Layers")).locator("table")
        button = table.locator("th", has_text="non-zero weights").locator("button")
        cells = table.locator("tbody td:nth-child(4)")
        button.focus()
        browser.page.keyboard.press("Enter")
        rising = [int(text.replace(",", "")) for text in cells.all_inner_texts()]
        browser.page.keyboard.press("Enter")
        falling = [int(text.replace(",", "")) for text in cells.all_inner_texts()]
    assert rising == sorted(rising)
    assert falling == rising[::-1]
    assert max(rising) > min(rising)


def test_a_ledger_has_a_page_too_and_a_folder_without_a_result_is_refused(built: Path, tmp_path: Path) -> None:
    titles = {section.title: section for section in results.of(built).sections}
    assert len(titles["Stages of the search"].tables[0].rows) >= 5
    assert len(titles["Every step of the search"].tables[0].rows) > 20
    found = results.of(built / "ledger.sqlite")
    assert "measurements" in found.verdict
    assert found.sections[0].tables[0].rows
    with pytest.raises(ReportError, match="holds no result"):
        results.of(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ReportError, match="damaged or of another version"):
        results.of(tmp_path)
