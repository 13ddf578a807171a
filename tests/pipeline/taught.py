"""A build folder whose ledger has a design of an earlier campaign, which teaches a run what its tool makes of others."""

from pathlib import Path

from hepprune.hardware.resources import Estimate, Measurement, Resources
from hepprune.synthesis.ledger import Ledger, design_key

TOOLS = {"vsynth": ("vivado", "2024.2"), "yosys": ("yosys", "0.62")}


def teach(build: Path, *, stage: str, strategy: str, factor: float) -> None:
    """Leave a ledger in which an earlier design took `factor` times the LUT that were estimated."""
    predicted = Estimate(
        stage=stage,
        strategy=strategy,
        resources=Resources(lut=1000.0),
        latency_cycles=9,
        interval_cycles=8,
        clock_ns=5.0,
    )
    tool, version = TOOLS[stage]
    seen = Measurement(
        stage=stage,
        tool=tool,
        version=version,
        part="xcvu13p",
        clock_ns=5.0,
        resources=Resources(lut=1000.0 * factor),
    )
    build.mkdir()
    with Ledger(build / "ledger.sqlite") as book:
        key = design_key("another", strategy=strategy, part="xcvu13p", clock_ns=5.0, tool="x", pipelining=5)
        book.record(key, predicted, seen, description="an earlier campaign")
