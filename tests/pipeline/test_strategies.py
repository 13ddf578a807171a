"""The whole loop under hls4ml's own strategies, with a substitute of the vendor's tool and without any."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from numpy.typing import NDArray
from pydantic import TypeAdapter
from typer.testing import CliRunner

from hepprune import cli, network, pipeline, recipe
from hepprune.errors import HeppruneError, RecipeError
from hepprune.firmware import hls
from hepprune.fixed import interface
from hepprune.fixed.interface import Word
from hepprune.network import Dense, Input, Merge, Network, ReLU, Weighted
from hepprune.pipeline import tools
from hepprune.recipe import Recipe
from hepprune.report import summary as summaries
from hepprune.report.summary import Summary, Tagger
from hepprune.synthesis.ledger import Ledger
from tests.pipeline.taught import teach

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("strategies")

# What a recorded C synthesis wrote, cut to what its report must hold.
REPORT = """<profile><ReportVersion><Version>2024.2</Version></ReportVersion>
<UserAssignments><Part>xcvu13p-flga2577-2-e</Part><TopModelName>NAME</TopModelName>
<TargetClockPeriod>5.00</TargetClockPeriod><ClockUncertainty>1.35</ClockUncertainty></UserAssignments>
<PerformanceEstimates><SummaryOfTimingAnalysis><EstimatedClockPeriod>3.5</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Best-caseLatency>9</Best-caseLatency><Worst-caseLatency>9</Worst-caseLatency>
<Interval-min>1</Interval-min><Interval-max>1</Interval-max></SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>2</BRAM_18K><DSP>DSPS</DSP><FF>900</FF><LUT>LUTS</LUT><URAM>0</URAM></Resources>
<AvailableResources><BRAM_18K>5376</BRAM_18K><DSP>12288</DSP><FF>3456000</FF><LUT>1728000</LUT><URAM>1280</URAM>
</AvailableResources></AreaEstimates></profile>"""
# It needs more than the budget of the first design it is given, and less of any other.
VITIS = r"""#!/bin/sh
[ "$1" = --version ] && { echo "Vitis v2024.2 (64-bit)"; exit; }
name=$(sed -n 's/^set project_name "\(.*\)"/\1/p' project.tcl)
[ -n "$name" ] && [ -f "firmware/$name.cpp" ] || { echo "ERROR: no project here"; exit 1; }
lut=LITTLE; [ -f FIRST ] || lut=MUCH; echo "$name" >> FIRST
mkdir -p "${name}_prj/solution1/syn/report"
sed -e "s/NAME/$name/; s/LUTS/$lut/; s/DSPS/3/" TEMPLATE > "${name}_prj/solution1/syn/report/${name}_csynth.xml"
"""
# Limits that the searched network has to be cut for, and what the substitute says of the first design and others.
BUDGETS: dict[str, dict[str, Any]] = {
    "latency": {"lut": 9000},
    "resource": {"lut": 15000, "dsp": 24, "latency_ns": 500, "interval_cycles": 32},
    "resource_unrolled": {"lut": 15000, "dsp": 24, "latency_ns": 500, "interval_cycles": 32},
}
SAID = {"latency": (12000, 8000), "resource": (18000, 12000), "resource_unrolled": (18000, 12000)}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and a PATH without any vendor's program but those in its `bin`."""
    return without_vendors(tmp_path, monkeypatch)


def without_vendors(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    folders = [each for each in os.environ["PATH"].split(os.pathsep) if not shutil.which("vivado", path=each)]
    (folder / "bin").mkdir()
    patch.setenv("PATH", os.pathsep.join([str(folder / "bin"), *folders]))
    return folder


def install(folder: Path, *, little: int, much: int) -> None:
    (folder / "template.xml").write_text(REPORT)
    places = {
        "TEMPLATE": str(folder / "template.xml"),
        "FIRST": str(folder / "calls"),
        "LITTLE": str(little),
        "MUCH": str(much),
    }
    text = VITIS
    for word, place in places.items():
        text = text.replace(word, place)
    program = folder / "bin" / "vitis-run"
    program.write_text(text)
    program.chmod(0o755)


def content(strategy: str) -> dict[str, Any]:
    """Return a recipe of a small network of weights wide enough for DSP, and few jets."""
    default = yaml.safe_load((ROOT / "hls_projects/jet_tagger/recipe.yaml").read_text())
    data = default["data"] | {"file": str(ROOT / "datasets/jets_features.root:Jets"), "max_jets": 3000}
    found: dict[str, Any] = {
        "name": "small",
        "strategy": strategy,
        "data": data,
        "model": {
            "hidden": [8, 6],
            "bits": {"inputs": "ap_fixed<14,4,AP_RND,AP_SAT>", "weights": 10, "activations": 10},
            "training": {"float_epochs": 3, "epochs": 2},
        },
        "budget": BUDGETS[strategy] | {"max_accuracy_loss": 0.4},
        "search": {"stages": 3, "fine_tune_epochs": 1, "settle_epochs": 1, "trim_epochs": 1},
        "checks": {"csim_vectors": 300, "rtl_vectors": 100},
    }
    if strategy != "latency":
        found["reuse_factor"] = {"dense_1": 4, "dense_2": 8}
    return found


def load(folder: Path, content: dict[str, Any]) -> Recipe:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return recipe.load(folder / "recipe.yaml")


def hepprune(folder: Path, *options: str) -> Result:
    command = ["run", str(folder / "recipe.yaml"), "--build", str(folder / "build"), *options]
    return CliRunner().invoke(cli.app, command)


def check(summary: Summary, build: Path, strategy: str) -> None:
    """Check what holds with and without a tool: one project, proved, built as the network says."""
    assert (summary.checks.csim_vectors, summary.checks.csim_mismatches) == (300, 0)
    assert summary.checks.rtl_vectors is None
    assert summary.compressed.solved_lut is None
    found = network.load(build / "network.npz")
    layers = [layer for layer in found if isinstance(layer, Weighted)]
    assert {layer.strategy for layer in layers} == {strategy}
    project = json.loads((Path(summary.files["HLS project"]) / "hepprune.json").read_text())[1]
    alone = {1: "resource"} if strategy == "resource_unrolled" else {}  # hls4ml's name for nothing to unroll
    built = [[layer.name, alone.get(layer.reuse_factor, strategy), layer.reuse_factor] for layer in layers]
    assert project["strategies"] == built
    assert "Verilog" not in summary.files
    check_feeding(summary, build)
    assert summary.compressed.estimate.uncertainty is not None
    assert summary.compressed.estimate.uncertainty["lut"] > 0


def check_feeding(summary: Summary, build: Path) -> None:
    """Check that the words of the patterns are what the project's own C++ takes and puts out."""
    own, folder = interface.read(Path(summary.files["scaler"])), Path(summary.files["patterns"])
    assert own.project is not None
    assert build / own.project == Path(summary.files["HLS project"])
    assert own.latency_cycles == (summary.compressed.measured and summary.compressed.measured.latency_cycles)
    words = {name: (folder / name).read_text().split() for name in ("inputs.hex", "outputs.hex")}
    x, expected = (
        unpacked(words[name], of) for name, of in zip(words, (own.input_words, own.output_words), strict=True)
    )
    adapter = TypeAdapter(tuple[str, hls.Project])
    _, project = adapter.validate_json((Path(summary.files["HLS project"]) / "hepprune.json").read_bytes())
    assert np.array_equal(hls.predict(project, x), expected)
    assert len(np.unique(expected)) > 20
    assert "small_features_words(" in Path(summary.files["scaler as C header"]).read_text()


def unpacked(lines: list[str], words: Sequence[Word]) -> NDArray[np.float64]:
    """Return the values of hexadecimal lines, (n_jets, n_words)."""
    columns = []
    for word in words:
        assert word.kind is not None
        bits = np.array([int(line, 16) >> word.low & 2**word.width - 1 for line in lines])
        signed = bits - (bits >> word.width - 1 << word.width) * word.kind.signed
        columns.append(signed * word.kind.step)
    return np.stack(columns, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", BUDGETS)
def test_the_loop_ends_with_a_measured_design(strategy: str, bare: Path) -> None:
    asked, build = load(bare, content(strategy)), bare / "build"
    much, little = SAID[strategy]
    install(bare, little=little, much=much)
    assert tools.check(asked).name == "vitis"
    summary = pipeline.run(asked, build=build, plots=False)
    check(summary, build, strategy)
    assert [turn.met for turn in summary.feedback] == [False, True]
    assert summary.compressed.measured is not None
    assert (summary.compressed.measured.stage, summary.compressed.measured.lut) == ("csynth", little)
    assert doubt(summary.baseline) == doubt(summary.uniform) == doubt(summary.compressed)
    assert summary.compressed.estimate == summary.feedback[-1].estimate
    steps = {step for step in summary.seconds if "simulation" in step or "synthesis" in step}
    assert steps == {"HLS project and its C simulation", "synthesis (vitis)"}
    assert len((bare / "calls").read_text().splitlines()) == len(summary.feedback)
    with Ledger(build / "ledger.sqlite") as book:
        assert len(book.pairs("csynth", strategy=strategy)) == 2


def doubt(tagger: Tagger) -> float:
    """Return the relative uncertainty of a tagger's LUT, the same for all that one calibration corrects."""
    assert tagger.estimate.uncertainty is not None
    return round(tagger.estimate.uncertainty["lut"] / (tagger.estimate.lut or 1), 3)


@pytest.fixture(scope="module", params=[("latency", "bits"), ("resource", "reuse_factor")], ids=lambda given: given[0])
def waiting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Result]:
    """A search without cuts where no vendor's tool is: strategy, build folder, and what the command said."""
    strategy, kind = request.param
    with pytest.MonkeyPatch.context() as patch:
        folder = without_vendors(tmp_path_factory.mktemp(strategy), patch)
        wanted = content(strategy)
        wanted["search"] |= {"granularities": [kind]}
        wanted["budget"] = {"lut_of_baseline": 0.9, "latency_ns": 1000, "interval_cycles": 64, "max_accuracy_loss": 0.4}
        load(folder, wanted)
        teach(folder / "build", stage="vsynth", strategy=strategy, factor=2.0)
        return strategy, folder / "build", hepprune(folder)


@pytest.mark.slow
def test_a_search_without_cuts_ends_at_a_share_of_what_the_baseline_is_known_to_take(
    waiting: tuple[str, Path, Result],
) -> None:
    """No curve of sensitivity is drawn, and share and baseline are corrected by what was measured before."""
    _, build, ended = waiting
    assert ended.exit_code == 4, ended.output
    summary = summaries.read(build / "summary.json")
    assert "sensitivity" not in summary.files
    assert Path(summary.files["pareto"]).is_file()
    baseline = summary.baseline.estimate.lut or 0
    assert summary.budget["lut"] == pytest.approx(0.9 * baseline, abs=1.5)
    assert doubt(summary.baseline) == doubt(summary.uniform) == doubt(summary.compressed)


@pytest.mark.slow
def test_without_a_vendors_tool_all_but_the_measurement_is_there(waiting: tuple[str, Path, Result]) -> None:
    strategy, build, ended = waiting
    assert ended.exit_code == 4, ended.output
    summary = summaries.read(build / "summary.json")
    check(summary, build, strategy)
    assert summary.compressed.measured is None
    assert [(turn.measured, turn.met) for turn in summary.feedback] == [(None, None)]
    error = (summary.compressed.estimate.uncertainty or {})["lut"]
    assert f"± {error:,.0f}" in ended.stdout
    assert "to be measured on another machine" in ended.stdout
    said = " ".join(ended.stderr.split())
    assert "to be continued: the design" in said
    assert "hepprune synth FOLDER" in said
    assert (summary.compressed.estimate.lut or 0) <= summary.budget["lut"]


def residual() -> Network:
    rng = np.random.default_rng(1)
    sizes = {"a": (8, 16), "b": (6, 8), "c": (8, 6), "out": (5, 8)}
    dense = {
        name: Dense(
            name, torch.tensor(rng.normal(size=size) / size[1] ** 0.5, dtype=torch.float32), torch.zeros(size[0])
        )
        for name, size in sizes.items()
    }
    layers = [Input("x", 16), dense["a"], ReLU("first"), dense["b"], ReLU("second"), dense["c"], Merge("sum", "add")]
    edges = {"a": "x", "first": "a", "b": "first", "second": "b", "c": "second", "sum": ("c", "first"), "out": "sum"}
    return Network([*layers, dense["out"]], edges)


@pytest.mark.slow
def test_a_residual_model_goes_through_the_whole_loop(bare: Path) -> None:
    network.save(residual(), bare / "model.npz")
    asked = content("latency")
    asked["model"] = {"file": "model.npz", "training": {"float_epochs": 1, "epochs": 2}}
    asked["budget"] = {"lut_of_baseline": 0.5, "latency_ns": 200, "max_accuracy_loss": 0.6}
    load(bare, asked)
    ended, build = hepprune(bare, "--no-plots"), bare / "build"
    assert ended.exit_code == 4, ended.output
    summary = summaries.read(build / "summary.json")
    assert (summary.checks.csim_vectors, summary.checks.csim_mismatches) == (300, 0)
    assert (summary.compressed.estimate.lut or 0) <= summary.budget["lut"]
    found = network.load(build / "network.npz")
    assert isinstance(found["sum"], Merge)
    assert found.widths["a"] == found.widths["c"]
    assert sum(summary.compressed.layer_sizes) < sum(summary.baseline.layer_sizes)


def test_yosys_alone_is_no_reason_to_refuse_a_strategy_and_verilog_tools_are(bare: Path) -> None:
    asked = load(bare, content("latency"))
    assert (tools.check(asked).name, tools.check(asked).stage) == ("elsewhere", "vsynth")
    program = bare / "bin" / "vivado"
    program.write_text("#!/bin/sh\necho 'Vivado v2024.2'\n")
    program.chmod(0o755)
    assert tools.check(asked).name == "elsewhere"  # Vivado alone takes no HLS project
    named = asked.model_copy(update={"synthesis": recipe.Synthesis(tool="vivado")})
    with pytest.raises(RecipeError, match="'vivado' takes Verilog, and strategy 'latency' makes an HLS project"):
        tools.check(named)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"search": {"granularities": ["weight"]}},
            "with strategy resource granularities are neuron, dsp_row, bits, reuse",
        ),
        ({"strategy": "distributed_arithmetic"}, "has no multipliers to share, so no reuse_factor but 1"),
        ({"reuse_factor": {"dense_1": 0}}, "reuse_factor"),
    ],
)
def test_what_buys_nothing_is_refused_when_the_recipe_is_read(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=said):
        load(tmp_path, content("resource") | changes)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"dense_7": 4}, "reuse_factor: unknown layer 'dense_7'; choose one of: dense_"),
        ({"dense_1": 5}, "layer 'dense_1' cannot be built with reuse factor 5; set 4 or 8"),
        (7, "strategy 'resource' cannot build this network: .*'dense_1' .* factor 7; set .*; layer 'dense_2'"),
    ],
)
def test_reuse_factors_that_cannot_be_built_are_refused_before_jets_are_read(
    factors: Any, said: str, bare: Path
) -> None:
    asked = load(bare, content("resource") | {"reuse_factor": factors})
    with pytest.raises(HeppruneError, match=said):
        pipeline.run(asked, build=bare / "build")
    assert not list((bare / "build").glob("state/*"))
