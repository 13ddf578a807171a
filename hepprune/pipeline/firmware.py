"""What a run builds of a network: its solved adder graph, its Verilog, its HLS project, and the proof that they agree."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hepprune import synthesis
from hepprune.files import content_hash
from hepprune.firmware import equivalence, hls, programs, rtl
from hepprune.hardware.resources import Estimate, Measurement
from hepprune.network import Network, identity, save
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.synthesis.ledger import Ledger


@dataclass(frozen=True)
class Solved:
    """The exact cost and depth of a network's adder graph, from da4ml's solver."""

    lut: float
    depth: float


@contextmanager
def solver_compiling() -> Iterator[None]:
    """Compile da4ml's solver in another process while the block runs: minutes once per environment, then seconds."""
    command = [sys.executable, "-c", "from hepprune.firmware import rtl; rtl.warm_up()"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
            process.wait()
        finally:
            process.kill()


def solve(context: Context, network: Network) -> Solved:
    """Return the exact adder-graph cost of a network."""

    def exact() -> Solved:
        solution = rtl.solve(network)
        return Solved(solution.cost, solution.depth)

    return context.kept(Solved, "solved", identity(network), exact)
