"""Milliseconds of processor time of a training step: whole epochs in compiled code against steps in torch, one thread.

`python benchmarks/compiled_epochs.py`: random jets of five classes, 512 a step, types of 6 bits, one for all values of
a layer. Torch is what is left where PATH has no C++ compiler, so each way has a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
import torch

from hepprune import training
from hepprune.fixed import FixedPoint
from hepprune.network import precision
from hepprune.task.sample import Sample
from hepprune.training import Fit

SHAPES = ((16, 64, 32, 32), (64, 128, 128), (64, 256, 256))  # features, then neurons
N_JETS, BATCH, EPOCHS = 60_000, 512, 12
INPUTS = FixedPoint.parse("ap_fixed<8,4,AP_RND,AP_SAT>")


def main() -> None:
    """Print the steps of both ways and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs="+", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(step(tuple(given.one))))
        return
    print("| network | compiled [ms] | torch [ms] | ratio |\n|---|---|---|---|")
    for shape in SHAPES:
        fast, slow = (apart(shape, path) for path in (os.environ["PATH"], ""))
        print(f"| {'-'.join(map(str, shape))}-5 | {fast:.2f} | {slow:.2f} | {slow / fast:.1f} |", flush=True)


def apart(shape: tuple[int, ...], path: str) -> float:
    """Return the step of a process with a PATH of its own."""
    command = [sys.executable, __file__, "--one", *map(str, shape)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        command, env=os.environ | threads | {"PATH": path}, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def step(shape: tuple[int, ...]) -> float:
    """Return the milliseconds of a step in the second of two trainings: the first compiles."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N_JETS, shape[0])).astype(np.float32)
    jets = Sample.from_arrays(x, x[:, :5].argmax(axis=1))
    network = training.multilayer_perceptron(shape[0], shape[1:], 5, seed=1)
    network = precision.quantise(network, x, precision.Precision(inputs=INPUTS, weight_bits=6, activation_bits=6))
    settings = Fit(epochs=EPOCHS, batch_size=BATCH, learning_rate=0.006)
    for _ in range(2):
        began = time.process_time()
        training.fit(network, jets, jets.first(500), settings=settings, seed=1)
        taken = time.process_time() - began
    return 1000 * taken / (EPOCHS * -(-N_JETS // BATCH))


if __name__ == "__main__":
    main()
