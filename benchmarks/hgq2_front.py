"""A front of HGQ2's own making, in HGQ2's own environment: what `benchmarks/pareto.py` runs as its rival.

`python benchmarks/hgq2_front.py JETS.npz FOLDER --seconds 760 --seed 1` trains a tagger of 64-32-32 neurons with bits
for every weight and value (Sun et al., 10.1145/3748173.3779200): EBOPs are a part of the loss, whose share grows by
powers of ten, and every network that no other beats on the way is kept in the folder.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import keras
import numpy as np
from hgq.config import LayerConfigScope, QuantizerConfigScope
from hgq.layers import QDense
from hgq.utils.sugar import BetaScheduler, FreeEBOPs, ParetoFront, PieceWiseSchedule

BATCH, PEAK, FIRST, LAST = 1200, 5e-3, 5e-7, 1e-3  # jets, learning rate, shares of EBOPs in the loss
TIMED = 20  # epochs that say how many the time suffices for


def main() -> None:
    """Train for so many seconds, and keep the front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jets", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=760)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    with np.load(arguments.jets) as jets:
        given = {name: jets[name] for name in ("x", "y", "x_validation", "y_validation")}
    started = time.process_time()
    epochs = _epochs_left(given, arguments.seconds)
    _train(given, epochs, kept_in=arguments.folder)
    taken = time.process_time() - started
    (arguments.folder / "taken.json").write_text(json.dumps(taken))
    print(f"{epochs} epochs in {taken:.0f} s", flush=True)


class _Clock(keras.callbacks.Callback):
    """The processor time at the end of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.ends.append(time.process_time())


def _epochs_left(given: dict[str, Any], seconds: float) -> int:
    """Return how many epochs fit into the time, by some of them on a model that is thrown away."""
    started, clock = time.process_time(), _Clock()
    _train(given, TIMED, also=[clock])
    each = float(np.median(np.diff(clock.ends)))
    spent = time.process_time() - started
    compiling = max(0.0, spent - TIMED * each)  # the real training compiles too
    return max(1, int((seconds - spent - compiling) / each))


def _train(given: dict[str, Any], epochs: int, *, kept_in: Path | None = None, also: Any = ()) -> None:
    model = _tagger(given["x"].shape[1], int(given["y"].max()) + 1)
    model.compile(
        optimizer=keras.optimizers.Adam(PEAK),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=max(1, math.ceil(len(given["x"]) / BATCH)),
    )
    share = PieceWiseSchedule([(0, FIRST, "log"), (epochs, LAST, "constant")])
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: PEAK * (0.05 + 0.95 * _cosine(epoch / epochs)))
    kept = [] if kept_in is None else [ParetoFront(kept_in, ["val_accuracy", "ebops"], [1, -1])]
    model.fit(
        given["x"],
        given["y"],
        validation_data=(given["x_validation"], given["y_validation"]),
        epochs=epochs,
        batch_size=BATCH,
        verbose=0,
        callbacks=[BetaScheduler(share), rate, FreeEBOPs(), *kept, *also],
    )


def _cosine(passed: float) -> float:
    return (1 + math.cos(math.pi * passed)) / 2


def _tagger(n_features: int, n_classes: int) -> keras.Model:
    with (
        QuantizerConfigScope(place="all", default_q_type="kbi", overflow_mode="SAT_SYM"),
        QuantizerConfigScope(place="datalane", default_q_type="kif", overflow_mode="WRAP"),
        LayerConfigScope(enable_ebops=True, beta0=FIRST),
    ):
        hidden = [QDense(n, activation="relu") for n in (64, 32, 32)]
        return keras.Sequential([keras.Input((n_features,)), *hidden, QDense(n_classes)])


if __name__ == "__main__":
    main()
