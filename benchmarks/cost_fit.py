"""Fit the constants of the cost models: least relative squares on samples, none of them negative."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from cost_designs import WholeDesign
from cost_samples import Sample
from scipy.optimize import nnls

from hepprune.hardware.cost import prices
from hepprune.hardware.cost.features import Terms

Factors = dict[str, dict[str, float]]

KINDS = ("latency", "resource", "distributed_arithmetic", "recurrent", "element")
GROUPS = tuple(f"{kind}_{cell}" for kind in KINDS for cell in ("lut", "ff"))
# Kept bit by bit, so no factor is fitted: a register each. No public HLS report shows an adder graph: a LUT per bit
# that is added, a register per bit of every sum that waits at the end of a cycle. A multiplier of LUT: one per bit of
# its partial products.
RULES = {
    "latency_lut": {"multiplier_bits": 1.0, "tree_bits": 1.0},
    "latency_ff": {"port_bits": 1.0},
    "element_lut": {"multiplier_bits": 1.0},
    "element_ff": {"result_bits": 1.0},
    "distributed_arithmetic_lut": {"adder_bits": 1.0, "bias_bits": 1.0},
    "distributed_arithmetic_ff": {"sum_bits": 1.0},
}
# What fitted samples may not show: a LUT per bit that is added, compared or multiplied by a constant.
ASSUMED = {"element_lut": {"merge_bits": 1.0, "affine_bits": 1.0, "pool_bits": 1.0}}
# What takes the place of a term that no sample shows: the like of it in streams or in parallel, deep or shallow.
SIBLINGS = (("stream", "parallel"), ("parallel", "stream"), ("deep", "shallow"), ("shallow", "deep"))
SIBLINGS += (("window", "stream"), ("window", "parallel"))

UNKNOWN_WEIGHTS = 0.3  # the weight of a design whose counts hang on weights that are drawn
_ITERATIONS = 8


def fit(samples: Iterable[Sample], designs: Iterable[WholeDesign] = ()) -> Factors:
    """Return the factors of each group, none negative: least relative squares, sources weighted alike.

    A whole design shows the sum of what its layers follow, with what is not a factor's taken off.
    """
    single = tuple(samples)
    rows: dict[str, list[_Row]] = {"lut": [], "ff": []}
    for sample in single:
        for group, terms, seen in _cells(sample):
            cell = group.rpartition("_")[2]
            amounts = {(group, name): amount for name, amount in terms.items()}
            rows[cell].append(_Row(f"{sample.source} {group}", amounts, seen / sample.operation.copies))
    for design in designs:
        for cell, found in rows.items():
            found.append(whole_row(design, cell))
    found = [_factors(each) for each in rows.values()]
    factors: Factors = {group: dict(RULES.get(group, {})) for group in GROUPS}
    for (group, name), value in (item for each in found for item in each.items()):
        factors[group][name] = value
    return factors


@dataclass(frozen=True)
class _Row:
    """What one count follows, by group and term; rows of one source share its weight."""

    source: str
    amounts: dict[tuple[str, str], float]
    seen: float
    weight: float = 1.0


def whole_row(design: WholeDesign, cell: str) -> _Row:
    """Return what LUT or registers of a whole design follow."""
    amounts: dict[tuple[str, str], float] = defaultdict(float)
    fixed = 0.0
    for operation in design.operations:
        if operation.kind == "input":
            fixed += (cell == "ff") * operation.n_in * operation.in_width
            continue
        group = f"{prices.group_of(operation)}_{cell}"
        terms = prices.terms(operation, design.clock)[cell == "ff"]
        for name, amount in terms.items():
            amounts[group, name] += operation.copies * amount
        fixed += (cell == "ff") * prices.waiting_bits(operation) + getattr(prices.fifos(operation), cell)
    return _Row(design.source, dict(amounts), getattr(design.measured.resources, cell) - fixed, UNKNOWN_WEIGHTS)


def _cells(sample: Sample) -> Iterator[tuple[str, Terms, float]]:
    """Yield LUT and registers of a sample: the group of constants, what they are proportional to, and the count."""
    group = prices.group_of(sample.operation)
    for cell, terms in zip(("lut", "ff"), prices.terms(sample.operation, sample.clock), strict=True):
        yield f"{group}_{cell}", terms, getattr(sample.resources, cell)


def _factors(rows: list[_Row]) -> dict[tuple[str, str], float]:
    rows = [row for row in rows if row.seen > 0]
    ruled = {(group, name): value for group, rules in RULES.items() for name, value in rules.items()}
    names = sorted({key for row in rows for key, amount in row.amounts.items() if amount} - ruled.keys())
    sizes = Counter(row.source for row in rows)
    weight = np.array([row.weight * sizes[row.source] ** -0.5 for row in rows])
    matrix = np.array([[row.amounts.get(name, 0.0) / row.seen for name in names] for row in rows])
    given = np.array([sum(ruled.get(key, 0.0) * n for key, n in row.amounts.items()) / row.seen for row in rows])
    found, _ = nnls(matrix * weight[:, None], weight * (1 - given).clip(0))
    for _ in range(_ITERATIONS):
        # Predicted over reported: as bad too high as too low.
        each = weight / np.sqrt(np.clip(matrix @ found + given, 0.05, 20.0))
        found, _ = nnls(matrix * each[:, None], each * (1 - given).clip(0))
    return {name: float(f"{value:.4g}") for name, value in zip(names, found, strict=True)}


def completed(factors: Factors, samples: Iterable[Sample]) -> Factors:
    """Return the factors with those that no sample shows: a sibling's (of streams, of shallow matrices), or none."""
    names: dict[str, set[str]] = {group: set() for group in factors}
    for sample in samples:
        for group, terms, _ in _cells(sample):
            names[group] |= terms.keys()
    complete = {group: dict(known) for group, known in factors.items()}
    for group, known in list(complete.items()):
        for name in names[group] | _swapped(names[group]):
            siblings = (name.replace(a, b) for a, b in SIBLINGS if a in name)
            likely = next((known[s] for s in siblings if s in known and "select" not in s), 0.0)
            known.setdefault(name, ASSUMED.get(group, {}).get(name, likely))
        complete[group] = ASSUMED.get(group, {}) | known
    return complete


def _swapped(names: set[str]) -> set[str]:
    return {name.replace(a, b) for name in names for a, b in SIBLINGS if a in name}


def lone_terms(sample: Sample, shown: Factors) -> set[str]:
    """Return which of "lut" and "ff" hang on a term that the fitted samples never show."""
    cells = ((group, terms) for group, terms, _ in _cells(sample))
    return {
        group.rpartition("_")[2]
        for group, terms in cells
        if any(amount and term not in shown[group] for term, amount in terms.items())
    }
