"""Fit the constants of the cost models on published reports, and say how well each source is predicted without itself.

One command: `python benchmarks/fit_cost_model.py [--check]`. It writes hepprune/hardware/cost/constants.json and the
table in docs/cost_models.md; `--check` writes nothing and ends with an error if they would change.
"""

import argparse
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import cost_samples
import numpy as np
from cost_samples import SOURCES, Sample
from scipy.optimize import nnls

from hepprune.files import write_text
from hepprune.hardware.cost import features, hls, prices
from hepprune.hardware.cost.constants import Constants
from hepprune.hardware.cost.features import Terms
from hepprune.hardware.cost.operations import Operation

Factors = dict[str, dict[str, float]]
T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
CONSTANTS = ROOT / "hepprune/hardware/cost/constants.json"
PAGE = ROOT / "docs/cost_models.md"
START, END = "<!-- errors: written by benchmarks/fit_cost_model.py -->", "<!-- end of errors -->"
USABLE_NS = 5.0 * (1 - hls.DEFAULT_UNCERTAINTY)
# What no public report shows alone: an addition or a comparison takes about a LUT per bit.
ASSUMED = {"merge_bits": 1.0, "affine_bits": 1.0}
SIBLINGS = (("stream", "parallel"), ("parallel", "stream"), ("deep", "shallow"), ("shallow", "deep"))

_ITERATIONS = 8
_LEAST = 0.02  # of an uncertainty: a rule that is exact on every public report may still miss

GROUPS: dict[str, Callable[[Operation], Terms]] = {
    "latency_lut": features.latency_lut,
    "latency_ff": lambda op: features.latency_ff(op, prices.latency_cycles(op, USABLE_NS)),
    "resource_lut": features.resource_lut,
    "resource_ff": features.resource_ff,
    "recurrent_lut": features.recurrent,
    "recurrent_ff": features.recurrent,
    "element_lut": features.element_lut,
    "element_ff": features.element_ff,
}


def group_of(operation: Operation) -> str:
    """Return the group of constants that prices an operation."""
    return {"matrix": operation.strategy, "recurrent": "recurrent"}.get(operation.kind, "element")


def fit(samples: Iterable[Sample]) -> Factors:
    """Return the factors of each group, none negative: least relative squares, sources weighted alike."""
    rows: dict[str, list[tuple[str, Terms, float]]] = defaultdict(list)
    for sample in samples:
        for cell in ("lut", "ff"):
            group = f"{group_of(sample.operation)}_{cell}"
            seen = getattr(sample.resources, cell)
            if seen:
                rows[group].append((sample.source, GROUPS[group](sample.operation), seen / sample.operation.copies))
    return {group: _factors(rows.get(group, [])) | _assumed(group) for group in GROUPS}


def _assumed(group: str) -> dict[str, float]:
    return ASSUMED if group.startswith("element") else {}


def _factors(rows: list[tuple[str, Terms, float]]) -> dict[str, float]:
    names = sorted({name for _, terms, _ in rows for name in terms} - ASSUMED.keys())
    if not names:
        return {}
    sizes = {source: sum(row[0] == source for row in rows) for source, _, _ in rows}
    weight = np.array([sizes[source] ** -0.5 for source, _, _ in rows])
    matrix = np.array([[terms.get(name, 0.0) / seen for name in names] for _, terms, seen in rows])
    found, _ = nnls(matrix * weight[:, None], weight)
    for _ in range(_ITERATIONS):
        ratio = np.clip(matrix @ found, 0.05, 20.0)  # predicted over reported: as bad too high as too low
        found, _ = nnls(matrix * (weight / np.sqrt(ratio))[:, None], weight / np.sqrt(ratio))
    factors = {
        name: float(value) for name, value in zip(names, found, strict=True) if matrix[:, names.index(name)].any()
    }
    return {name: float(f"{value:.4g}") for name, value in factors.items()}


def completed(factors: Factors, samples: Iterable[Sample]) -> Factors:
    """Return the factors with those that no sample shows: a sibling's (of streams, of shallow matrices), or none."""
    complete = {group: dict(known) for group, known in factors.items()}
    for group, known in complete.items():
        for name in _names(group, samples):
            siblings = (name.replace(a, b) for a, b in SIBLINGS if a in name)
            known.setdefault(name, next((known[s] for s in siblings if s in known and "select" not in s), 0.0))
    return complete


def _names(group: str, samples: Iterable[Sample]) -> set[str]:
    of_group = [s.operation for s in samples if f"{group_of(s.operation)}_" in f"{group[: group.rindex('_')]}_"]
    own = {name for operation in of_group for name in GROUPS[group](operation)}
    swapped = {name.replace(a, b) for name in own for a, b in SIBLINGS if a in name}
    every = {"relu_bits", "pool_bits", "merge_bits", "affine_bits", "softmax", "table"}
    return own | swapped | {"cast_bits"} | (every if group.startswith("element") else set())


def predict(sample: Sample, factors: Factors) -> dict[str, float]:
    """Return what the model says of a sample under these factors."""
    group = group_of(sample.operation)
    constants = Constants(factors, {}, {})
    price = {
        cell: sample.operation.copies * constants.price(f"{group}_{cell}", GROUPS[f"{group}_{cell}"](sample.operation))
        for cell in ("lut", "ff")
    }
    whole = prices.price(sample.operation, usable_ns=USABLE_NS, constants=constants)
    counts = whole.resources.known()
    return price | {
        "dsp": counts["dsp"],
        "bram18": counts["bram18"],
        "cycles": whole.depth,
        "ii": whole.interval_cycles,
    }


Errors = dict[tuple[str, str], dict[str, list[float]]]


def left_out(samples: list[Sample]) -> Errors:
    """Return the errors of each source and group, every source predicted by a fit on the others."""
    return _errors(samples, lambda sample: sample.source, _same_family)


def shapes_left_out(samples: list[Sample]) -> Errors:
    """Return the errors of each source and group, every layer shape predicted without that shape of any source."""
    return _errors(samples, _fold, lambda one, other: one == other)


def _errors(samples: list[Sample], key: Callable[[Sample], T], same: Callable[[T, T], bool]) -> Errors:
    """Return the errors of samples, each predicted by a fit on those of another key.

    A sample with a term that those never show counts as lone.
    """
    found: Errors = {}
    fits: dict[T, tuple[Factors, Factors]] = {}
    for sample in samples:
        own = key(sample)
        if own not in fits:
            shown = fit(other for other in samples if not same(key(other), own))
            fits[own] = shown, completed(shown, samples)
        shown, factors = fits[own]
        group = group_of(sample.operation)
        cell = found.setdefault((sample.source, group), defaultdict(list))
        predicted = predict(sample, factors)
        for name in ("lut", "ff"):
            known = shown[f"{group}_{name}"]
            terms = GROUPS[f"{group}_{name}"](sample.operation)
            if any(amount and term not in known for term, amount in terms.items()):
                cell[f"{name}_lone"].append(1.0)
                predicted.pop(name)
        _note(cell, sample, predicted)
    return found


def _fold(sample: Sample) -> int:
    operation = sample.operation
    return (operation.n_in * 31 + operation.n_out * 17 + len(sample.source)) % 5


def _same_family(one: str, other: str) -> bool:
    """Return whether two sources are one for this purpose: the DeepSets share their architecture and their tool."""
    return one == other or (one.startswith("DeepSets") and other.startswith("DeepSets"))


def _note(errors: dict[str, list[float]], sample: Sample, predicted: dict[str, float]) -> None:
    for cell, seen in sample.resources.known().items():
        if cell not in predicted:
            continue
        if seen > 0:
            errors[f"{cell}_seen"].append(seen)
            errors[cell].append(predicted[cell] / seen - 1)
        else:
            errors[f"{cell}_none"].append(float(predicted[cell] > 0))
    if sample.latency_cycles is not None:
        errors["cycles"].append(predicted["cycles"] - sample.latency_cycles)
        errors["cycles_relative"].append(
            abs(predicted["cycles"] - sample.latency_cycles) / max(sample.latency_cycles, 1)
        )
    if sample.interval_cycles:
        errors["ii"].append(float(predicted["ii"] == sample.interval_cycles))


def uncertainties(others: Errors, shapes: Errors) -> dict[str, float]:
    """Return one standard deviation by group and cell: the median over sources.

    It is 1.25 times the mean absolute error, weighted by what was reported, with the source left out; where only one
    source shows what it shows, with the layer shape left out.
    """
    found: dict[str, float] = {}
    for group, cell in itertools.product(
        ("latency", "resource", "recurrent", "element"), ("lut", "ff", "dsp", "bram18")
    ):
        each = [e if e.get(cell) else shapes[key] for key, e in others.items() if key[1] == group]
        known = [np.average(np.abs(e[cell]), weights=e[f"{cell}_seen"]) for e in each if e.get(cell)]
        if known:
            found[f"{group}_{cell}"] = float(f"{max(1.25 * np.median(known), _LEAST):.3g}")
    return found


def table(others: Errors, shapes: Errors) -> str:
    """Return the errors as a markdown table: median of |predicted / reported - 1|, source (shape) left out."""
    head = "| source left out | priced as | n | LUT | FF | DSP | BRAM18 | cycles, median | II exact |"
    lines = [head, "|---" * 9 + "|"]
    for key, cells in others.items():
        source, group = key
        n = max(len(values) for values in cells.values())
        shares = [f"{_percent(cells, cell)} ({_percent(shapes[key], cell)})" for cell in ("lut", "ff")]
        shares += [_percent(cells, cell) for cell in ("dsp", "bram18")]
        exact = f"{100 * np.mean(cells['ii']):.0f} %" if cells.get("ii") else "-"
        lines.append(f"| {source} | {group} | {n} | {' | '.join(shares)} | {_cycles(cells)} | {exact} |")
    return "\n".join(lines)


def _percent(cells: dict[str, list[float]], cell: str) -> str:
    if cells.get(cell):
        return f"{100 * np.median(np.abs(cells[cell])):.0f} %"
    if cells.get(f"{cell}_lone"):
        return "no other"
    none = cells.get(f"{cell}_none", [])
    return "-" if not none else "none, right" if not any(none) else f"none, {100 * np.mean(none):.0f} % wrong"


def _cycles(cells: dict[str, list[float]]) -> str:
    if not cells.get("cycles"):
        return "-"
    off, relative = np.median(np.abs(cells["cycles"])), 100 * np.median(cells["cycles_relative"])
    return f"{off:.0f} off ({relative:.0f} %)"


def main() -> int:
    """Fit, print the errors, and write the constants and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    arguments = parser.parse_args()
    samples = cost_samples.samples()
    others, shapes = left_out(samples), shapes_left_out(samples)
    content = {
        "sources": SOURCES | {"assumed": "an addition or a comparison of no public report: a LUT per bit"},
        "errors": uncertainties(others, shapes),
        "factors": completed(fit(samples), samples),
    }
    censored = "".join(
        f"- {kind}: {done} finished, {failed} gave no numbers\n"
        for kind, (done, failed) in cost_samples.censored().items()
    )
    runs = "Runs of wa-hls4ml, the failed ones censored and never counted as zeros:"
    shown = f"{table(others, shapes)}\n\n{runs}\n\n{censored}"
    print(shown)
    texts = {CONSTANTS: json.dumps(content, indent=2, sort_keys=True) + "\n"}
    if PAGE.is_file():
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(START)
        texts[PAGE] = f"{before}{START}\n\n{shown}\n{END}{rest.partition(END)[2]}"
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    if not arguments.check:
        for path in changed:
            write_text(path, texts[path])
    elif changed:
        print("would change: " + ", ".join(str(path) for path in changed))
    return int(arguments.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
