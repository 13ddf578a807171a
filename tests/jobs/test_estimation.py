import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from hepprune import cli
from hepprune.cli import app
from hepprune.errors import RecipeError, ReportError
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Estimate, LayerEstimate, LayerMeasurement, Measurement, Resources
from hepprune.hardware.targets import TARGETS
from hepprune.jobs import estimation
from hepprune.network import Dense, Input, Network, storage
from hepprune.synthesis.ledger import Ledger

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


def pair(n: int, ratio: float) -> tuple[Estimate, Measurement]:
    cells = Resources(lut=500.0 + 400.0 * n, ff=300.0 + n)
    half = cells.scaled({"lut": 0.5, "ff": 0.5})
    layers = (
        LayerEstimate(layer="fc", resources=half, depth=3.0),
        LayerEstimate(layer="softmax", resources=half, depth=3.0, kind="softmax"),
    )
    estimate = Estimate(
        stage="csynth",
        strategy="latency",
        resources=cells,
        latency_cycles=4,
        interval_cycles=1,
        clock_ns=5.0,
        layers=layers,
    )
    modules = tuple(
        LayerMeasurement(layer=layer.layer, module=layer.layer, resources=half.scaled({"lut": ratio}))
        for layer in layers
    )
    seen = cells.scaled({"lut": ratio, "ff": 1.1})
    return estimate, Measurement(
        stage="csynth",
        tool="vitis",
        version="2024.1",
        part="xcvu13p",
        clock_ns=5.0,
        resources=seen,
        latency_cycles=5,
        interval_cycles=1,
        layers=modules,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as book:
        for n, ratio in enumerate((1.30, 1.35, 1.25, 1.32)):
            estimate, measured = pair(n, ratio)
            book.record(f"design{n}", estimate, measured, description="a tagger")
            odd = replace(estimate, stage="vsynth"), replace(measured, stage="vsynth", version="2025.1")
            if n < 2:
                book.record(f"odd{n}", odd[0], odd[1], description="a tagger")
    return path


def hepprune(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.app, [*map(str, arguments)], env={"COLUMNS": "160", "NO_COLOR": "1"})
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.slow
def test_factors_errors_and_the_plot(ledger: Path, tmp_path: Path) -> None:
    code, shown, said = hepprune("ledger", "calibrate", ledger, "--plot", tmp_path / "plot.png")
    assert code == 0, said
    assert "softmax" in shown
    assert "vitis 2025.1" in shown
    for suffix in (".png", ".pdf"):
        assert (tmp_path / "plot").with_suffix(suffix).stat().st_size > 10_000


def test_everything_as_json(ledger: Path) -> None:
    code, shown, said = hepprune("ledger", "calibrate", ledger, "--json")
    assert code == 0, said
    found = json.loads(shown)
    early = next(each for each in found["calibrations"] if each["stage"] == "csynth")
    assert (early["version"], early["latency_offset_cycles"]) == ("2024.1", 1)
    assert set(early["kinds"]["lut"]) == {"matrix", "softmax"}
    (score,) = (each for each in found["scores"] if (each["stage"], each["resource"]) == ("csynth", "lut"))
    assert score["n"] == 4
    assert score["after"] < 0.3 * score["before"]


def test_a_ledger_that_teaches_nothing_is_refused(tmp_path: Path) -> None:
    code, _, said = hepprune("ledger", "calibrate", tmp_path / "none.sqlite")
    assert (code, "no ledger" in said) == (1, True)
    with Ledger(tmp_path / "empty.sqlite") as book:
        book.record("abc", description="only written")
    code, _, said = hepprune("ledger", "calibrate", tmp_path / "empty.sqlite")
    assert (code, "both predicted and measured" in said) == (1, True)


def test_an_estimate_is_calibrated_by_a_ledger(tmp_path: Path) -> None:
    network = Network(
        [
            Input("x", 4, FixedPoint(8, 4)),
            Dense("fc", torch.ones(3, 4), torch.zeros(3), weight_type=FixedPoint(6, 2), bias_type=FixedPoint(8, 4)),
        ]
    )
    target = targets.load("generic_vu13p")
    plain = cost.estimate(network, target, stage="yosys")
    seen = Measurement(
        stage="yosys",
        tool="yosys",
        version="0.70",
        part="xcvu13p",
        clock_ns=5.0,
        resources=plain.resources.scaled({"lut": 1.5}),
        latency_cycles=1,
        interval_cycles=1,
    )
    with Ledger(tmp_path / "ledger.sqlite") as book:
        book.record("abc", plain, seen, description="measured")
    asked: Any = {"strategy": "distributed_arithmetic", "ledger": tmp_path / "ledger.sqlite"}
    found = estimation.estimate(network, target, stage="yosys", **asked).estimate
    assert 1.4 < (found.resources.lut or 0) / (plain.resources.lut or 1) < 1.5
    with pytest.raises(ReportError, match="of strategy distributed_arithmetic in .* at route"):
        estimation.estimate(network, target, stage="route", **asked)
