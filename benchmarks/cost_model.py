"""Predicted against reported cost, by these models and by rule4ml, on the same published designs in one run.

One command: `python benchmarks/cost_model.py [--rule4ml FOLDER] [--out FILE]`. rule4ml is not a dependency; put it and
what it needs into a folder, without touching this environment:
    pip install --no-deps --target FOLDER rule4ml torch-geometric keras-tuner kt-legacy pandas python-dateutil
Ours is held out: a jet tagger is predicted by constants that never saw its family, a single layer by constants that
never saw its shape. Both predict C synthesis; rule4ml sees sizes and precision, not weights.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cost_fit
import cost_samples
import cost_wholes
from cost_samples import Published, Sample

from hepprune.hardware.cost import prices
from hepprune.hardware.cost.constants import Constants

CELLS = ("lut", "ff", "dsp", "cycles", "ii")
EVERY = 23  # of the single layers, so that rule4ml is done in a minute


@dataclass(frozen=True)
class Case:
    """One design: what was reported, what we predict, and how rule4ml is told of it."""

    group: str
    name: str
    reported: dict[str, float]
    ours: dict[str, float]
    strategy: str
    precision: str
    reuse_factor: int
    vivado: str


def jet_taggers(samples: list[Sample]) -> Iterator[Case]:
    """Yield the published jet taggers whole."""
    for held in cost_wholes.held_out(samples):
        design, found = held.design, held.estimate
        if not isinstance(design, Published):
            continue
        each = (design.measured, found)
        reported, ours = (
            {c: getattr(f.resources, c) for c in CELLS[:3]} | {"cycles": f.latency_cycles, "ii": f.interval_cycles}
            for f in each
        )
        mlp = design.source == "jet MLP"
        bits = 16 if mlp else int(design.source.split()[1])
        precision = "ap_fixed<16, 6>" if mlp else f"ap_fixed<{bits}, 1>"
        version = "2022.2" if mlp else "2020.1"
        yield Case("jet taggers", design.source, reported, ours, "latency", precision, 1, version)


def single_layers(samples: list[Sample]) -> Iterator[Case]:
    """Yield some of wa-hls4ml's dense layers, spread over sizes, widths and reuse factors."""
    chosen = [s for s in samples if s.source == "wa-hls4ml" and s.interval_cycles and s.latency_cycles is not None]
    for sample in chosen[::EVERY]:
        operation = sample.operation
        others = [s for s in samples if (s.operation.n_in, s.operation.n_out) != (operation.n_in, operation.n_out)]
        constants = Constants(cost_fit.completed(cost_fit.fit(others), samples), {}, {})
        found = prices.price(operation, clock=sample.clock, constants=constants)
        cells = {c: getattr(sample.resources, c) for c in CELLS[:3]}
        reported = cells | {"cycles": sample.latency_cycles, "ii": sample.interval_cycles}
        ours = {c: getattr(found.resources, c) for c in CELLS[:3]} | {
            "cycles": found.depth,
            "ii": found.interval_cycles,
        }
        ours["ff"] -= prices.waiting_bits(operation)
        name = f"{operation.n_in}x{operation.n_out}"
        width = operation.kernel.weight_width
        precision, factor = f"ap_fixed<{width}, 1>", operation.asked_reuse_factor
        yield Case("single layers", name, reported, ours, operation.strategy, precision, factor, "2023.2")  # type: ignore[arg-type]


def keras_model(case: Case) -> Any:
    """Return a Keras model of the same sizes."""
    import keras

    layers = keras.layers
    if case.group == "single layers":
        n_in, n_out = map(int, case.name.split("x"))
        features = keras.Input((n_in,))
        return _built(features, layers.Dense(n_out)(features), (None, n_in))
    if case.name == "jet MLP":
        features = flow = keras.Input((16,))
        for width in (64, 32, 32):
            flow = layers.Dense(width, activation="relu")(flow)
        return _built(features, layers.Dense(5, activation="softmax")(flow), (None, 16))
    features = flow = keras.Input((8, 3))
    for _ in range(3):
        flow = layers.Conv1D(32, 1, activation="relu")(flow)
    for layer in (layers.AveragePooling1D(8), layers.Flatten()):
        layer.build(tuple(flow.shape))  # rule4ml reads the shapes that only an explicit build leaves
        flow = layer(flow)
    flow = layers.Dense(32, activation="relu")(flow)
    return _built(features, layers.Dense(5, activation="softmax")(flow), (None, 8, 3))


def _built(features: Any, result: Any, shape: tuple[int | None, ...]) -> Any:
    import keras

    model = keras.Model(features, result)
    model.build(shape)
    return model


def rule4ml(cases: list[Case], folder: Path | None) -> list[dict[str, float]] | None:
    """Return what rule4ml predicts of each case; None where it is not installed."""
    if folder:
        sys.path.append(str(folder))  # last, so that nothing of this environment is replaced
    try:
        from rule4ml.models.wrappers import MultiModelWrapper
    except ImportError as missing:
        print(f"rule4ml is left out ({missing}); the head of this file says how to install it beside this environment")
        return None
    estimator = MultiModelWrapper()
    estimator.load_default_models()
    return [_asked(estimator, case) for case in cases]


def _asked(estimator: Any, case: Case) -> dict[str, float]:
    model = {"strategy": case.strategy, "precision": case.precision, "reuse_factor": case.reuse_factor}
    told = {"board": "alveo-u250", "model": model}
    frame = estimator.predict(
        keras_model(case), hls_configs=[told], hls4ml_versions=["1.1.0"], vivado_versions=[case.vivado]
    )
    names = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "cycles": "CYCLES", "ii": "INTERVAL"}
    return {cell: float(frame[name].iloc[0]) for cell, name in names.items()}


def summary(cases: list[Case], predicted: list[dict[str, float]], group: str) -> dict[str, float]:
    """Return the median absolute errors over one group: relative for cells, in cycles for latency and interval."""
    chosen = [(case, found) for case, found in zip(cases, predicted, strict=True) if case.group == group]
    result: dict[str, float] = {}
    for cell in CELLS[:3]:
        pairs = [(found[cell], case.reported[cell]) for case, found in chosen if case.reported[cell]]
        result[cell] = median(abs(mine / seen - 1) for mine, seen in pairs)
    for cell in CELLS[3:]:
        result[cell] = median(abs(found[cell] - case.reported[cell]) for case, found in chosen)
    return result


def main() -> None:
    """Print both side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule4ml", type=Path, help="the folder that pip put rule4ml into")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    samples = cost_samples.samples()
    cases = [*jet_taggers(samples), *single_layers(samples)]
    started = time.perf_counter()
    theirs = rule4ml(cases, arguments.rule4ml)
    seconds = time.perf_counter() - started
    predictions = {"hepprune": [case.ours for case in cases]} | ({"rule4ml": theirs} if theirs else {})
    figures = {
        f"{name}, {group}": summary(cases, found, group)
        for group in ("jet taggers", "single layers")
        for name, found in predictions.items()
    }
    for i, case in enumerate(cases[:4]):
        for name, found in [("reported", case.reported), *((n, f[i]) for n, f in predictions.items())]:
            print(f"{case.name:16}{name:10}" + "".join(f"{cell} {found[cell]:>10,.0f}  " for cell in CELLS))
    print(f"\nmedian absolute error, {len(cases)} designs ({sum(c.group == 'jet taggers' for c in cases)} jet taggers)")
    for name, errors in figures.items():
        cells = "".join(f"{cell} {errors[cell]:7.1%}  " for cell in CELLS[:3])
        print(f"{name:28}{cells}cycles {errors['cycles']:7.1f}  II {errors['ii']:7.1f}")
    if theirs:
        print(f"rule4ml took {seconds:.0f} s for {len(cases)} designs, loading its networks included")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
