"""Fit the constants of the cost models: least relative squares on samples, none of them negative."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from cost_samples import Sample
from scipy.optimize import nnls

from hepprune.hardware.cost import prices
from hepprune.hardware.cost.features import Terms

Factors = dict[str, dict[str, float]]

KINDS = ("latency", "resource", "distributed_arithmetic", "recurrent", "element")
GROUPS = tuple(f"{kind}_{cell}" for kind in KINDS for cell in ("lut", "ff"))
# Kept bit by bit, so no factor is fitted: a register each. No public HLS report shows an adder graph: a LUT per bit
# that is added, a register per bit of every sum that waits at the end of a cycle.
RULES = {
    "latency_ff": {"port_bits": 1.0},
    "element_ff": {"result_bits": 1.0},
    "distributed_arithmetic_lut": {"adder_bits": 1.0, "bias_bits": 1.0},
    "distributed_arithmetic_ff": {"sum_bits": 1.0},
}
# What fitted samples may not show: a LUT per bit that is added, compared or multiplied by a constant.
ASSUMED = {"element_lut": {"merge_bits": 1.0, "affine_bits": 1.0, "pool_bits": 1.0}}
# What takes the place of a term that no sample shows: the like of it in streams or in parallel, deep or shallow.
SIBLINGS = (("stream", "parallel"), ("parallel", "stream"), ("deep", "shallow"), ("shallow", "deep"))
SIBLINGS += (("window", "stream"), ("window", "parallel"))

_ITERATIONS = 8


def fit(samples: Iterable[Sample]) -> Factors:
    """Return the factors of each group, none negative: least relative squares, sources weighted alike."""
    rows: dict[str, list[tuple[str, Terms, float]]] = defaultdict(list)
    for sample in samples:
        for group, terms, seen in _cells(sample):
            if seen:
                rows[group].append((sample.source, terms, seen / sample.operation.copies))
    return {group: _factors(rows.get(group, []), RULES.get(group, {})) for group in GROUPS}


def _cells(sample: Sample) -> Iterator[tuple[str, Terms, float]]:
    """Yield LUT and registers of a sample: the group of constants, what they are proportional to, and the count."""
    group = prices.group_of(sample.operation)
    for cell, terms in zip(("lut", "ff"), prices.terms(sample.operation, sample.usable_ns), strict=True):
        yield f"{group}_{cell}", terms, getattr(sample.resources, cell)


def _factors(rows: list[tuple[str, Terms, float]], rules: dict[str, float]) -> dict[str, float]:
    names = sorted({name for _, terms, _ in rows for name, amount in terms.items() if amount} - rules.keys())
    if not names:
        return dict(rules)
    sizes = {source: sum(row[0] == source for row in rows) for source, _, _ in rows}
    weight = np.array([sizes[source] ** -0.5 for source, _, _ in rows])
    matrix = np.array([[terms.get(name, 0.0) / seen for name in names] for _, terms, seen in rows])
    given = np.array([sum(rules.get(name, 0.0) * n for name, n in terms.items()) / seen for _, terms, seen in rows])
    found, _ = nnls(matrix * weight[:, None], weight * (1 - given).clip(0))
    for _ in range(_ITERATIONS):
        # Predicted over reported: as bad too high as too low.
        each = weight / np.sqrt(np.clip(matrix @ found + given, 0.05, 20.0))
        found, _ = nnls(matrix * each[:, None], each * (1 - given).clip(0))
    return {name: float(f"{value:.4g}") for name, value in zip(names, found, strict=True)} | rules


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
