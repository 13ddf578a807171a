"""Steps of training per second of processor time, on one thread: ours, plain float torch, and ours at another commit.

Each is a process of its own, and they take turns, so that what else the machine does falls on all alike; the best turn
counts. The floating-point operations of the products alone are set against those of one large product of matrices.
One command: `python benchmarks/training.py [--against COMMIT]`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from hepprune.files import write_json

RESULTS = Path(__file__).parent / "results/training.json"
TAGGERS = {"16-64-32-32-5": (16, 64, 32, 32, 5), "64-256-256-5": (64, 256, 256, 5)}
N_JETS, BATCH = 24 * 1024, 1024
_OURS = """
import json, sys, time
import torch
torch.set_num_threads(1)
from hepprune import training
from hepprune.fixed import FixedPoint
from hepprune.network.precision import Precision, quantise
from hepprune.task.sample import Sample
sizes, n_jets, batch = json.loads(sys.argv[1])
generator = torch.Generator().manual_seed(0)
x, y = torch.randn(n_jets, sizes[0], generator=generator), torch.randint(0, sizes[-1], (n_jets,), generator=generator)
jets, network = Sample(x, y), training.multilayer_perceptron(sizes[0], tuple(sizes[1:-1]), sizes[-1], seed=0)
kind = Precision(inputs=FixedPoint(8, 4, True, "RND", "SAT"), weight_bits=6, activation_bits=6)
network = quantise(network, x[:4096].numpy(), kind)
def seconds(epochs, quantised):
    began = time.process_time()
    settings = training.Fit(epochs=epochs, batch_size=batch, quantised=quantised)
    training.fit(network, jets, jets.first(batch), settings=settings, seed=1)
    return time.process_time() - began
steps = 2 * n_jets // batch
times = {}
for name, quantised in (("quantised", True), ("float", False)):
    seconds(1, quantised)
    times[name] = min(seconds(3, quantised) - seconds(1, quantised) for _ in range(3)) / steps
print(json.dumps(times))
"""
_TORCH = """
import itertools, json, sys, time
import torch
torch.set_num_threads(1)
sizes, n_jets, batch = json.loads(sys.argv[1])
x, y = torch.randn(n_jets, sizes[0]), torch.randint(0, sizes[-1], (n_jets,))
parts = [part for pair in itertools.pairwise(sizes) for part in (torch.nn.Linear(*pair), torch.nn.ReLU())]
model = torch.nn.Sequential(*parts[:-1])
optimiser = torch.optim.Adam(model.parameters())
def epoch():
    began = time.process_time()
    for rows in torch.split(torch.randperm(n_jets), batch):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    return (time.process_time() - began) * batch / n_jets
epoch()
large = torch.randn(2048, 2048)
def product():
    began = time.process_time()
    large @ large
    return time.process_time() - began
product()
times = {"torch": min(epoch() for _ in range(6)), "flop_per_s": 2 * 2048**3 / min(product() for _ in range(6))}
print(json.dumps(times))
"""


def main() -> None:
    """Time every tagger, print rates and ratios, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="COMMIT", help="a commit whose own training is timed beside")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        other = checked_out(arguments.against, Path(folder) / "other") if arguments.against else None
        rows = {name: compare(sizes, other, arguments.turns) for name, sizes in TAGGERS.items()}
        if other:
            subprocess.run(["git", "worktree", "remove", "--force", str(other)], check=True)
    for name, row in rows.items():
        print(f"{name}: {json.dumps(row)}", flush=True)
    write_json(RESULTS, {"against": arguments.against, "load": os.getloadavg()[0], "taggers": rows})


def checked_out(commit: str, folder: Path) -> Path:
    """Return a worktree of a commit."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), commit], check=True)
    return folder


def compare(sizes: tuple[int, ...], other: Path | None, turns: int) -> dict[str, float]:
    """Return the least seconds a step of each, their ratios, and the share of the peak that the quantised step has."""
    found: dict[str, float] = {}
    for _ in range(turns):
        times = timed(_OURS, sizes, Path(__file__).parents[1]) | timed(_TORCH, sizes, None)
        if other:
            times |= {f"{name} before": value for name, value in timed(_OURS, sizes, other).items()}
        best = {name: max if name == "flop_per_s" else min for name in times}
        found = {name: best[name](value, found.get(name, value)) for name, value in times.items()}
    ratios = {"faster than torch": found["torch"] / found["quantised"]}
    if other:
        ratios |= {f"{name} faster": found[f"{name} before"] / found[name] for name in ("quantised", "float")}
    share = flop(sizes) / found["quantised"] / found["flop_per_s"]
    return {name: float(f"{value:.4g}") for name, value in (found | ratios | {"share of peak": share}).items()}


def flop(sizes: tuple[int, ...]) -> int:
    """Return the operations of a step's products: forward, by weights, and but for the first layer by what arrives."""
    products = [n_in * n_out for n_in, n_out in pairwise(sizes)]
    return 2 * BATCH * (3 * sum(products) - products[0])


def timed(program: str, sizes: tuple[int, ...], package: Path | None) -> Mapping[str, float]:
    """Return what a program prints, which finds the package in a folder."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = os.environ | one | ({"PYTHONPATH": str(package)} if package else {})
    command = [sys.executable, "-c", program, json.dumps([sizes, N_JETS, BATCH])]
    done = subprocess.run(command, env=environment, cwd=package, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
