"""How long it takes to remove half of the neurons or filters of networks of a million parameters, for real.

Ours (importance, groups, cuts and surgery) beside Torch-Pruning (Fang et al., arXiv:2301.12900), which is asked for the
same: half of the outputs of each layer by their l2 norm, the classes left alone. Each starts from a fresh model and
builds its own graph of dependencies; the best of `--repeats` counts.
One command: `pip install torch-pruning==1.6.1; python benchmarks/structured_speed.py`.
"""

import argparse
import copy
import importlib.util
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import hepprune
from hepprune import frontends
from hepprune.files import write_json
from hepprune.pruning.structure import surgery

RESULTS = Path(__file__).parent / "results/structured_speed.json"


class Residual(nn.Module):
    """Six residual blocks of two 3 x 3 convolutions of 96 filters with batch norms, for images of 16 x 16."""

    def __init__(self, width: int = 96, n_blocks: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
            )
            for _ in range(n_blocks)
        )
        self.classes = nn.Linear(width, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n_jets, 5) of images (n_jets, 1, 16, 16)."""
        values = torch.relu(self.stem(images))
        for block in self.blocks:
            values = torch.relu(values + block(values))
        return self.classes(values.mean(dim=(2, 3)))


def perceptron() -> nn.Module:
    """Return dense layers of 512, 1024 and 512."""
    sizes = (16, 512, 1024, 512)
    hidden = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(512, 5))


SUBJECTS = {"dense": (perceptron, torch.zeros(1, 16)), "residual convolutions": (Residual, torch.zeros(1, 1, 16, 16))}


def main() -> None:
    """Time both on each network, print the ratios, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows = {name: compare(build().eval(), example, arguments.repeats) for name, (build, example) in SUBJECTS.items()}
    for name, row in rows.items():
        print(f"{name}: {json.dumps(row)}", flush=True)
    write_json(RESULTS, rows)


def compare(model: nn.Module, example: torch.Tensor, repeats: int) -> dict[str, float]:
    """Return seconds and parameters left of both."""
    network = frontends.read(torch.export.export(model, (example,)))
    ours, smaller = fastest(lambda: half(network), repeats)
    row = {"parameters": size(model), "ours_s": ours, "ours_left": size(smaller)}
    if importlib.util.find_spec("torch_pruning") is None:
        print("Torch-Pruning is not installed: pip install torch-pruning==1.6.1")
        return row
    theirs, left = fastest(lambda: theirs_half(copy.deepcopy(model), example), repeats)
    return row | {"theirs_s": theirs, "theirs_left": size(left), "ratio": round(theirs / ours, 2)}


def half(network: hepprune.Network) -> nn.Module:
    """Return the network without half of its neurons or filters."""
    return surgery.shrink(hepprune.prune(network, sparsity=0.5, granularity="neuron", scope="local"))


def theirs_half(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return the model as Torch-Pruning leaves it."""
    import torch_pruning

    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=[last],
    )
    pruner.step()
    return model


def fastest(work: Callable[[], nn.Module], repeats: int) -> tuple[float, nn.Module]:
    """Return the least seconds of several runs, and what the last one returned."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    return round(min(seconds), 4), found


def size(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    main()
