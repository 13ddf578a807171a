"""Whole published designs, each predicted by constants that never saw its source: errors, doubts, and pulls."""

from dataclasses import dataclass

import cost_designs
import cost_fit
import cost_samples
import numpy as np
from cost_designs import WholeDesign
from cost_fit import Factors
from cost_samples import Published, Sample

from hepprune.hardware.cost import hls
from hepprune.hardware.cost.constants import Constants
from hepprune.hardware.cost.describing import Options
from hepprune.hardware.resources import Estimate
from hepprune.hardware.targets import Target

CELLS = ("lut", "ff", "dsp")
FIGURES = (*CELLS, "bram18", "latency_cycles", "interval_cycles")
LEAST = 0.02  # of an uncertainty: a rule that is exact on every public report may still miss
WITHIN_ONE = 0.68  # of all designs: what one standard deviation is to mean


@dataclass(frozen=True)
class HeldOut:
    """A published design, the factors of a fit that never saw its source, and its estimate by them.

    `spread` is the standard deviation of that estimate over likely weights, where those are not published.
    """

    design: Published | WholeDesign
    factors: Factors
    estimate: Estimate
    spread: dict[str, float]

    def relative(self, cell: str) -> float:
        """Return predicted over reported, less one; NaN where nothing was reported."""
        seen = figure(self.design.measured, cell)
        return figure(self.estimate, cell) / seen - 1 if seen else float("nan")

    def unexplained(self, cell: str) -> float:
        """Return which part of the estimate is off beyond what unknown weights make of it."""
        off = figure(self.estimate, cell) - figure(self.design.measured, cell)
        left = max(off**2 - self.spread[cell] ** 2, 0.0) ** 0.5
        return float(left / max(figure(self.estimate, cell), 1.0))

    def pull(self, cell: str, errors: dict[str, float]) -> float:
        """Return how many of its standard deviations an estimate lies above the report."""
        stated = priced(self.design, self.factors, errors)
        doubt = stated.latency_error_cycles if cell == "latency_cycles" else getattr(stated.uncertainty, cell)
        off = figure(self.estimate, cell) - figure(self.design.measured, cell)
        return float(off / max(np.hypot(doubt or 0.0, self.spread[cell]), 1e-9))


def held_out(samples: list[Sample]) -> tuple[HeldOut, ...]:
    """Return every published design, predicted without its source."""
    fits: dict[str, Factors] = {}
    likely = [list(cost_designs.designs(weights)) for weights in cost_designs.LIKELY]
    found = []
    for n, design in enumerate([*cost_designs.designs(), *cost_samples.published()]):
        factors = fits.setdefault(family(design.source), {}) or without(design.source, samples)
        fits[family(design.source)] = factors
        each = [priced(designs[n], factors) for designs in likely] if isinstance(design, WholeDesign) else []
        spread = {cell: float(np.std([figure(one, cell) for one in each])) if each else 0.0 for cell in FIGURES}
        found.append(HeldOut(design, factors, priced(design, factors), spread))
    return tuple(found)


def without(source: str, samples: list[Sample]) -> Factors:
    """Return the factors of a fit that never saw a source, nor its family."""
    others = [sample for sample in samples if family(sample.source) != family(source)]
    designs = [design for design in cost_designs.designs() if family(design.source) != family(source)]
    return cost_fit.completed(cost_fit.fit(others, designs), samples)


def family(source: str) -> str:
    """Return what a source is one with: the DeepSets share their architecture and their tool."""
    return "DeepSets" if source.startswith("DeepSets") else source


def priced(design: Published | WholeDesign, factors: Factors, errors: dict[str, float] | None = None) -> Estimate:
    """Return the estimate of a design at its own clock and part."""
    clock_ns, part = design.measured.clock_ns, design.measured.part
    uncertainty = 1 - design.clock.usable_ns / clock_ns
    target = Target(name="published", part=part, clock_ns=clock_ns, clock_uncertainty=uncertainty)
    constants = Constants(factors, errors or {}, {})
    return hls.Priced.of(design.operations, target, Options("latency"), constants=constants).estimate()


def doubts(designs: tuple[HeldOut, ...]) -> dict[str, float]:
    """Return by cell the relative error that 68 % of all designs keep to."""
    known = {cell: [one for one in designs if figure(one.design.measured, cell)] for cell in CELLS}
    return {
        cell: float(np.quantile([one.unexplained(cell) for one in each], WITHIN_ONE)) for cell, each in known.items()
    }


def page(designs: tuple[HeldOut, ...], errors: dict[str, float]) -> str:
    """Return errors and pulls as markdown."""
    return "\n\n".join((_each(designs), _medians(designs), _pulls(designs, errors)))


def _each(designs: tuple[HeldOut, ...]) -> str:
    lines = ["| whole design left out | LUT | FF | DSP | BRAM18 | cycles | II |", "|---" * 7 + "|"]
    for one in designs:
        cells = [
            f"{figure(one.estimate, cell):,.0f} for {figure(one.design.measured, cell):,.0f}{_off(one, cell)}"
            for cell in FIGURES
        ]
        name = one.design.name.split("/models/")[-1] if isinstance(one.design, WholeDesign) else one.design.source
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _medians(designs: tuple[HeldOut, ...]) -> str:
    lines = [
        "| median absolute error | designs | LUT | FF | DSP | cycles | cycles within 10 % or 2 |",
        "|---" * 7 + "|",
    ]
    groups = {family(one.design.source): None for one in designs}
    for group in (*groups, "all"):
        each = [one for one in designs if group in ("all", family(one.design.source))]
        errors = [100 * np.nanmedian([abs(one.relative(cell)) for one in each]) for cell in (*CELLS, "latency_cycles")]
        near = [_cycles_off(one) <= max(2, 0.1 * figure(one.design.measured, "latency_cycles")) for one in each]
        shown = " | ".join(f"{error:.0f} %" for error in errors)
        lines.append(f"| {group} | {len(each)} | {shown} | {100 * np.mean(near):.0f} % |")
    return "\n".join(lines)


def _pulls(designs: tuple[HeldOut, ...], errors: dict[str, float]) -> str:
    """Return pulls by widths that hold for 68 % of all designs, then by those of the other sources' designs alone."""
    head = "| pulls | designs | mean | within one | within two | worst | widths of other sources: one | two |"
    lines = [head, "|---" * 8 + "|"]
    others = {name: errors | _doubts_without(name, designs) for name in {family(one.design.source) for one in designs}}
    for cell in (*CELLS, "latency_cycles"):
        known = [one for one in designs if figure(one.design.measured, cell)]
        pulls = np.array([one.pull(cell, errors) for one in known])
        blind = np.array([one.pull(cell, others[family(one.design.source)]) for one in known])
        within = [f"{100 * np.mean(np.abs(each) <= n):.0f} %" for each in (pulls, blind) for n in (1, 2)]
        within.insert(2, f"{np.abs(pulls).max():.1f}")
        name = "cycles" if cell == "latency_cycles" else cell.upper()
        lines.append(f"| {name} | {len(pulls)} | {pulls.mean():+.1f} | {' | '.join(within)} |")
    return "\n".join(lines)


def _doubts_without(source: str, designs: tuple[HeldOut, ...]) -> dict[str, float]:
    others = tuple(one for one in designs if family(one.design.source) != source)
    return {f"latency_{cell}": max(doubt, LEAST) for cell, doubt in doubts(others).items()}


def _cycles_off(one: HeldOut) -> float:
    return abs(figure(one.estimate, "latency_cycles") - figure(one.design.measured, "latency_cycles"))


def _off(one: HeldOut, cell: str) -> str:
    relative = one.relative(cell)
    return "" if cell.endswith("cycles") or np.isnan(relative) else f" ({100 * relative:+.0f} %)"


def figure(figures: object, cell: str) -> float:
    """Return a count or a number of cycles of an estimate or a measurement."""
    place = figures if cell.endswith("cycles") else figures.resources  # type: ignore[attr-defined]
    return float(getattr(place, cell))
