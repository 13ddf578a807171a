"""How far the cost models are off on what they were not fitted on: by source, by layer shape, and on whole designs.

One command: `python benchmarks/cost_errors.py` prints the errors and, of whole designs, the pulls: how many stated
standard deviations an estimate by constants that never saw its source lies above the report.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cost_designs
import cost_fit
import cost_samples
import cost_wholes
import numpy as np
from cost_samples import Sample
from cost_wholes import HeldOut

from hepprune.hardware.cost import prices
from hepprune.hardware.cost.constants import Constants

T = TypeVar("T")
Cells = dict[str, list[float]]
BySource = dict[tuple[str, str], Cells]


@dataclass(frozen=True)
class Errors:
    """Errors by source and group with the source left out, with the layer's shape left out, and of whole designs."""

    sources: BySource
    shapes: BySource
    designs: tuple[HeldOut, ...]

    @classmethod
    def of(cls, samples: list[Sample]) -> "Errors":
        """Return the errors of every sample and every published design."""
        sources = _errors(samples, lambda sample: cost_wholes.family(sample.source), lambda one, other: one == other)
        shapes = _errors(samples, _fold, lambda one, other: one == other)
        return cls(sources, shapes, cost_wholes.held_out(samples))

    def uncertainties(self) -> dict[str, float]:
        """Return one standard deviation by group and cell: the mean over sources.

        It is 1.25 times the mean absolute error, weighted by what was reported, with the source left out; where only
        one source shows what it shows, with the layer shape left out. Unrolled matrices, which whole designs are made
        of, take what 68 % of those keep to.
        """
        found: dict[str, float] = {}
        groups, cells = ("latency", "resource", "recurrent", "element"), ("lut", "ff", "dsp", "bram18")
        for group, cell in itertools.product(groups, cells):
            each = [e if e.get(cell) else self.shapes[key] for key, e in self.sources.items() if key[1] == group]
            known = [np.average(np.abs(e[cell]), weights=e[f"{cell}_seen"]) for e in each if e.get(cell)]
            if known:
                found[f"{group}_{cell}"] = float(f"{max(1.25 * np.mean(known), cost_wholes.LEAST):.3g}")
        whole = cost_wholes.doubts(self.designs)
        return found | {
            f"latency_{cell}": float(f"{max(doubt, cost_wholes.LEAST):.3g}") for cell, doubt in whole.items()
        }

    def page(self) -> str:
        """Return all of it as markdown."""
        return f"{self._layers()}\n\n{cost_wholes.page(self.designs, self.uncertainties())}\n\n{_censored()}"

    def _layers(self) -> str:
        head = "| source left out | priced as | n | LUT | FF | DSP | BRAM18 | cycles, median | II exact |"
        lines = [head, "|---" * 9 + "|"]
        for key, cells in self.sources.items():
            n = max(len(values) for values in cells.values())
            shares = [f"{_percent(cells, cell)} ({_percent(self.shapes[key], cell)})" for cell in ("lut", "ff")]
            shares += [_percent(cells, cell) for cell in ("dsp", "bram18")]
            exact = f"{100 * np.mean(cells['ii']):.0f} %" if cells.get("ii") else "-"
            lines.append(f"| {key[0]} | {key[1]} | {n} | {' | '.join(shares)} | {_cycles(cells)} | {exact} |")
        return "\n".join(lines)


def _errors(samples: list[Sample], key: Callable[[Sample], T], same: Callable[[T, T], bool]) -> BySource:
    """Return the errors of samples, each predicted by a fit on those of another key.

    A sample with a term that those never show counts as lone.
    """
    found: BySource = {}
    designs = tuple(cost_designs.designs())
    fits: dict[T, tuple[cost_fit.Factors, cost_fit.Factors]] = {}
    for sample in samples:
        own = key(sample)
        if own not in fits:
            shown = cost_fit.fit((other for other in samples if not same(key(other), own)), designs)
            fits[own] = shown, cost_fit.completed(shown, samples)
        shown, factors = fits[own]
        cells = found.setdefault((sample.source, prices.group_of(sample.operation)), defaultdict(list))
        lone = cost_fit.lone_terms(sample, shown)
        for name in lone:
            cells[f"{name}_lone"].append(1.0)
        _note(cells, sample, {name: n for name, n in _predicted(sample, factors).items() if name not in lone})
    return found


def _fold(sample: Sample) -> int:
    operation = sample.operation
    return (operation.n_in * 31 + operation.n_out * 17 + len(sample.source)) % 5


def _predicted(sample: Sample, factors: cost_fit.Factors) -> dict[str, float]:
    """Return what the model says of a sample under these factors, without what is around it."""
    found = prices.price(sample.operation, clock=sample.clock, constants=Constants(factors, {}, {}))
    cells = found.resources.known()
    around = prices.fifos(sample.operation).known()
    cells = {cell: count - around[cell] for cell, count in cells.items()}
    cells["ff"] -= prices.waiting_bits(sample.operation)
    return cells | {"cycles": found.depth, "ii": found.interval_cycles}


def _note(errors: Cells, sample: Sample, predicted: dict[str, float]) -> None:
    for cell, seen in sample.resources.known().items():
        if cell not in predicted:
            continue
        if seen > 0:
            errors[f"{cell}_seen"].append(seen)
            errors[cell].append(predicted[cell] / seen - 1)
        else:
            errors[f"{cell}_none"].append(float(predicted[cell] > 0))
    if sample.latency_cycles is not None:
        off = predicted["cycles"] - sample.latency_cycles
        errors["cycles"].append(off)
        errors["cycles_relative"].append(abs(off) / max(sample.latency_cycles, 1))
    if sample.interval_cycles:
        errors["ii"].append(float(predicted["ii"] == sample.interval_cycles))


def _percent(cells: Cells, cell: str) -> str:
    if cells.get(cell):
        return f"{100 * np.median(np.abs(cells[cell])):.0f} %"
    if cells.get(f"{cell}_lone"):
        return "no other"
    none = cells.get(f"{cell}_none", [])
    return "-" if not none else "none, right" if not any(none) else f"none, {100 * np.mean(none):.0f} % wrong"


def _cycles(cells: Cells) -> str:
    if not cells.get("cycles"):
        return "-"
    off, relative = np.median(np.abs(cells["cycles"])), 100 * np.median(cells["cycles_relative"])
    return f"{off:.0f} off ({relative:.0f} %)"


def _censored() -> str:
    lines = (
        f"- {kind}: {done} finished, {failed} gave no numbers"
        for kind, (done, failed) in cost_samples.censored().items()
    )
    return "Runs of wa-hls4ml, the failed ones censored and never counted as zeros:\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(Errors.of(cost_samples.samples()).page())
