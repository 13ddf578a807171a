"""What a ledger has taught, from the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from hepprune import cli
from hepprune.errors import ReportError
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Estimate, LayerEstimate, LayerMeasurement, Measurement, Resources
from hepprune.jobs import estimation
from hepprune.network import Dense, Input, Network
from hepprune.synthesis.ledger import Ledger


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
    with pytest.raises(ReportError, match="of strategy distributed_arithmetic in .* at stage route"):
        estimation.estimate(network, target, stage="route", **asked)
