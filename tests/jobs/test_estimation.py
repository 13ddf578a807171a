import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.errors import RecipeError
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.hardware.targets import TARGETS
from hepprune.jobs import estimation
from hepprune.network import Dense, Input, Network, storage

WIDE = FixedPoint(16, 6)


def _network() -> Network:
    weight = torch.linspace(-1, 1, 128).reshape(8, 16)
    dense = Dense("fc", weight, torch.zeros(8), weight_type=FixedPoint(8, 1), bias_type=WIDE, result=WIDE)
    return Network([Input("x", 16, WIDE), dense])


@pytest.mark.parametrize("strategy", ["latency", "resource", "resource_unrolled", "distributed_arithmetic"])
def test_every_strategy_is_held_against_the_budget_with_its_uncertainty(strategy: str) -> None:
    found = estimation.estimate(_network(), "generic_vu13p", strategy=strategy)
    assert found.fits
    assert set(found.used) == set(found.budget.limits())
    assert found.estimate.uncertainty.lut > 0  # type: ignore[operator]
    assert found.estimate.latency_error_cycles is not None


def test_the_command_prints_what_the_function_returns(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    storage.save(_network(), path)
    target = tmp_path / "mine.yaml"
    target.write_text("{name: mine, part: xcvu9p, clock_ns: 4, budget: {latency_ns: 10, interval_cycles: 1}}")
    run = CliRunner().invoke(
        app, ["estimate", str(path), "-t", str(target), "--strategy", "resource", "-r", "7", "--json"]
    )
    assert run.exit_code == 2  # eight cycles where one is allowed
    found = json.loads(run.stdout)
    assert found["estimate"]["interval_cycles"] == 8
    assert not found["fits"]
    assert {warning["kind"] for warning in found["warnings"]} == {"reuse_factor", "interval"}
    shown = CliRunner().invoke(app, ["estimate", str(path), "-t", "generic_vu13p"])
    assert "within the budget" in " ".join(shown.stdout.split())


def test_targets_are_listed_with_source_and_confidence_and_so_are_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("{name: mine, part: xcvu9p, clock_ns: 4, source: our crate}")
    listed = json.loads(CliRunner().invoke(app, ["targets", str(own), "--json"]).stdout)
    assert [target["name"] for target in listed] == [*TARGETS, "mine"]
    assert all(target["source"] and target["confidence"] for target in listed)


def test_a_part_that_is_not_known_is_estimated_with_one_warning(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("{name: mine, part: xc7z008sclg400-1, clock_ns: 5, budget: {latency_ns: 100}}")
    found = estimation.estimate(_network(), own, strategy="latency")
    (warning,) = [warning for warning in found.warnings if warning.kind == "part"]
    assert "'xc7z008sclg400-1', of family 7-series by its name," in warning.message
    known = estimation.estimate(_network(), replace(targets.load(own), part="xc7z020"), strategy="latency")
    assert found.estimate == known.estimate
    assert not [warning for warning in known.warnings if warning.kind == "part"]
    faster = estimation.estimate(_network(), replace(targets.load(own), part="xcvu9p"), strategy="latency")
    assert faster.estimate.latency_cycles < known.estimate.latency_cycles
    own.write_text("{name: mine, part: xcvc1902, clock_ns: 5, device: {lut: 9, ff: 9, dsp: 9, bram18: 9}}")
    (warning,) = [each for each in estimation.estimate(_network(), own).warnings if each.kind == "part"]
    assert "is of family Versal, of which only the counts are known" in warning.message


def test_where_only_a_clock_matters_no_part_is_needed(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("{name: mine, clock_ns: 5, clock_uncertainty: 0.125, budget: {latency_ns: 100, lut: 9000}}")
    found = estimation.estimate(_network(), own, strategy="latency")
    assert found.estimate == estimation.estimate(_network(), "generic_vu13p", strategy="latency").estimate
    assert set(found.used) == {"latency_ns", "lut"}
    assert not [warning for warning in found.warnings if warning.kind == "part"]


def test_mistakes_end_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    storage.save(_network(), path)
    with pytest.raises(RecipeError, match="unknown strategy 'Unrolled'; choose one of: "):
        estimation.estimate(_network(), "generic_vu13p", strategy="Unrolled")
    run = CliRunner().invoke(app, ["estimate", str(path), "-t", "generic_vu13q"])
    assert run.exit_code == 1
    assert "unknown target 'generic_vu13q'; choose one of: generic_vu13p" in run.stderr
    run = CliRunner().invoke(app, ["estimate", str(path), "-t", "generic_vu13p", "-r", "0"])
    assert (run.exit_code, run.stderr) == (1, "error: a reuse factor of 0 is not a whole number from 1 up\n")


def test_a_limit_that_holds_by_less_than_the_uncertainty_is_named() -> None:
    lut = cost.estimate(_network(), TARGETS["generic_vu13p"], strategy="latency").resources.lut
    tight = replace(TARGETS["generic_vu13p"], budget=Budget(resources=Resources(lut=lut + 1)))  # type: ignore[operator]
    found = estimation.estimate(_network(), tight)
    assert found.fits
    assert found.doubtful == ("lut",)
