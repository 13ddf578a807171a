"""Jets that every metric is tried on, and the oracle of its errors: the bootstrap."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.metrics import Metric

Floats = NDArray[np.float64]
Jets = tuple[Floats, Any]


def many_classes(seed: int) -> Jets:
    return classes(seed, n_jets=10_000)


def classes(seed: int, *, n_jets: int = 3000, n_classes: int = 3) -> Jets:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_jets)
    return rng.normal(size=(n_jets, n_classes)) + 1.5 * np.eye(n_classes)[labels], labels


def labels(seed: int, *, n_jets: int = 3000) -> Jets:
    rng = np.random.default_rng(seed)
    yes = rng.integers(0, 2, (n_jets, 1)).astype(float)
    return 2 * rng.normal(size=(n_jets, 1)) + 3 * yes - 1, yes


def many(seed: int) -> Jets:
    return labels(seed, n_jets=10_000)


def overconfident(seed: int, *, n_jets: int = 3000) -> Jets:
    """Return logits twice as large as they should be."""
    rng = np.random.default_rng(seed)
    p = rng.random((n_jets, 1))
    return 2 * np.log(p / (1 - p)), (rng.random(p.shape) < p).astype(float)


def momenta(seed: int, *, n_jets: int = 3000) -> Jets:
    """Return momenta with a response of 0.9, a Gaussian core and tails."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(20, 100, (n_jets, 1))
    return 0.9 * truth + rng.normal(size=(n_jets, 1)) * np.where(rng.random((n_jets, 1)) < 0.1, 20, 5), truth


def anomalies(seed: int, *, n_jets: int = 10_000, n_out: int = 4) -> Jets:
    """Return what an autoencoder makes of events, worse of a fifth of them, the signal."""
    rng = np.random.default_rng(seed)
    signal, x = (rng.random(n_jets) < 0.2).astype(float), rng.normal(size=(n_jets, n_out))
    return x + rng.normal(size=x.shape) * (0.5 + 0.5 * signal[:, None]), (x, signal)


def taking(jets: Jets, rows: Any) -> Jets:
    raw, truth = jets
    return raw[rows], tuple(each[rows] for each in truth) if isinstance(truth, tuple) else truth[rows]


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], n_jets: int, n_draws: int = 200) -> float:
    """Return the standard deviation of a statistic of rows over draws of as many jets, with replacement."""
    rng = np.random.default_rng(1)
    return float(np.std([statistic(rng.integers(0, n_jets, n_jets)) for _ in range(n_draws)]))


def value(metric: Metric, jets: Jets, rows: Any, weight: Floats | None = None) -> float:
    return float(metric(*taking(jets, rows), None if weight is None else weight[rows]).value)
