"""What a synthesis tool is given of a run's firmware."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepprune import recipe, synthesis
from hepprune.data.scaling import Scaler
from hepprune.firmware import rtl
from hepprune.firmware.routes import Built
from hepprune.hardware import targets
from hepprune.hardware.calibration import Calibration, Correction
from hepprune.network import Network
from hepprune.pipeline import firmware, outcome, pricing
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.pruning import plan
from hepprune.task.sample import Sample

DEFAULT = Path(__file__).parents[2] / "hls_projects" / "jet_tagger" / "recipe.yaml"


def samples(jets: tuple[Sample, Sample]) -> Samples:
    scaler = Scaler(tuple("abcdefgh"), np.zeros(8), np.ones(8))
    return Samples(train=jets[0], validation=jets[1], test=jets[1], scalers={"features": scaler})


def test_a_job_names_the_top_of_what_it_builds(tagger: Network, tmp_path: Path) -> None:
    """Verilog and HLS project have tops of their own; `signal` is a word of VHDL."""
    default = recipe.load(DEFAULT)
    named = default.model_copy(update={"name": "signal"})
    context = Context(recipe=named, target=targets.load(default.target), build=tmp_path / "build")
    design = firmware.written(context, Built(network=tagger), "rtl")
    both = firmware.written(context, design, "hls")
    verilog, project = firmware.job(context, design), firmware.job(context, both)
    assert (verilog.top, verilog.hls_project) == ("signal_rtl", None)
    assert project.top == "signal_1"
    assert project.hls_project is not None
    assert 'set project_name "signal_1"' in (project.hls_project / "project.tcl").read_text()


def test_a_design_of_another_clock_uncertainty_is_another_under_hls_alone(tagger: Network) -> None:
    target, yosys = targets.load("generic_vu13p"), synthesis.choose("yosys")
    for strategy, n_keys in (("latency", 3), ("distributed_arithmetic", 1)):
        every = (replace(target, clock_uncertainty=each) for each in (None, 0.1, 0.2))
        assert len({firmware.design_key(tagger, each, strategy, yosys) for each in every}) == n_keys


def test_what_another_solver_makes_is_kept_apart_from_what_the_default_one_makes(
    tagger: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default, target = recipe.load(DEFAULT), targets.load("generic_vu13p")
    other = default.model_copy(update={"synthesis": recipe.Synthesis(solver="alkaid")})
    asked, by_default = list[str](), rtl.solve

    def solve(network: Network, *, solver: str) -> rtl.Solution:
        asked.append(solver)
        return by_default(network)

    monkeypatch.setattr(rtl, "solve", solve)
    for each in (default, other, default, other):
        context = Context(recipe=each, target=target, build=tmp_path / "build")
        firmware.solve(context, tagger)
        firmware.written(context, Built(network=tagger), "rtl")
    assert asked == ["da4ml", "da4ml", "alkaid", "alkaid", "da4ml", "alkaid"]  # one folder has the last design alone
    yosys = synthesis.choose("yosys")
    keys = {firmware.design_key(tagger, target, "distributed_arithmetic", yosys, solver=s) for s in ("da4ml", "alkaid")}
    assert firmware.design_key(tagger, target, "distributed_arithmetic", yosys) in keys
    assert len(keys) == 2


@pytest.mark.parametrize("strategy", ["latency", "resource"])
def test_what_was_measured_corrects_every_estimate_and_no_solved_adder_graph(
    strategy: str, tagger: Network, jets: tuple[Sample, Sample], tmp_path: Path
) -> None:
    default = recipe.load(DEFAULT)
    hls = default.model_copy(update={"strategy": strategy, "synthesis": recipe.Synthesis(tool="elsewhere")})
    exact, estimated = (
        Context(recipe=each, target=targets.load(default.target), build=tmp_path / each.strategy)
        for each in (default, hls)
    )
    stage, twice = pricing.own_stage(hls), {"lut": Correction(math.log(2.0), 0.1, 0.0, 1)}
    known = Calibration(stage=stage, tool="vivado", strategy=strategy, corrections=twice)
    built, given = Built(network=tagger), samples(jets)
    plain, corrected = (outcome.describe(estimated, built, given, each).estimate for each in (None, known))
    assert plain.lut is not None
    assert corrected.lut == pytest.approx(2 * plain.lut, abs=1)
    assert corrected.uncertainty is not None
    assert corrected.uncertainty["lut"] == pytest.approx(0.2 * plain.lut, abs=1)
    assert corrected.dsp == plain.dsp
    assert pricing.lut(estimated, built, known) == pytest.approx(2 * pricing.lut(estimated, built))
    more = pricing.spent(estimated, built, known) - pricing.spent(estimated, built)
    assert more == pytest.approx(pricing.lut(estimated, built))
    assert pricing.naming(estimated, known) != pricing.naming(estimated, None)
    assert outcome.describe(exact, built, given, known) == outcome.describe(exact, built, given)
    assert pricing.naming(exact, known) == []


@pytest.mark.slow
def test_what_was_built_needs_nothing_that_the_disk_remembers(
    tagger: Network, jets: tuple[Sample, Sample], tmp_path: Path
) -> None:
    """Each part is made once and passed on: without notes and kept results the later steps of a run make none anew."""
    default = recipe.load(DEFAULT)
    wanted = {"name": "passed", "checks": recipe.Checks(csim_vectors=100, rtl_vectors=100)}
    context = Context(
        recipe=default.model_copy(update=wanted), target=targets.load(default.target), build=tmp_path / "build"
    )
    given = samples(jets)
    built = firmware.deliver(context, firmware.build(context, plan.prune(tagger, sparsity=0.85), given), given)
    assert context.seconds.keys() == {"Verilog and its simulation", "HLS project and its C simulation"}
    shutil.rmtree(context.state)
    for note in context.build.rglob("hepprune.json"):
        note.unlink()
    seconds = dict(context.seconds)
    assert firmware.deliver(context, built, given) is built
    files = outcome.files(context, built, given)
    assert built.solution is not None
    assert pricing.lut(context, built) == built.solution.lut
    assert {"HLS project", "Verilog", "network", "patterns"} <= files.keys()
    assert context.seconds == seconds
    assert not list(context.build.rglob("hepprune.json"))
    assert not context.state.exists()
