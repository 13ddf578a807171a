"""What every test shares: quiet, repeatable hypothesis, one torch thread, and a small sample of five separable classes."""

import gc
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

from hepprune.fixed import FixedPoint
from hepprune.network import Network
from hepprune.network.precision import Precision, quantise
from hepprune.task.sample import Sample
from hepprune.training import Fit, fit, multilayer_perceptron
from tests.scheduling import pytest_xdist_make_scheduler

__all__ = ["pytest_xdist_make_scheduler"]  # a hook

settings.register_profile(
    "hepprune",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
settings.load_profile("hepprune")
signal.signal(signal.SIGINT, signal.default_int_handler)  # `nohup` and CI may start us deaf to it, and our children too
gc.set_threshold(100_000, 50)  # beside all that torch and TensorFlow make, the usual 700 cost a tenth of the time
# One thread each: the same sums in the same order on every machine, and room for other tests, which threads of LAPACK
# that wait for one another take most of.
torch.set_num_threads(1)
threadpool_limits(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what tests start

N_FEATURES, N_CLASSES, N_TRAIN, N_VALIDATION = 8, 5, 4000, 2000
INPUTS = FixedPoint(8, 3, True, "RND", "SAT")


@pytest.fixture(scope="session")
def jets() -> tuple[Sample, Sample]:
    """Five Gaussian classes of different centres and widths: train and validation, 8 features."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, N_CLASSES, N_TRAIN + N_VALIDATION)
    centres, widths = rng.normal(size=(N_CLASSES, N_FEATURES)), 0.7 + 0.5 * rng.random((N_CLASSES, N_FEATURES))
    x = (centres[y] + rng.normal(size=(len(y), N_FEATURES)) * widths[y]).astype(np.float32)
    return Sample.from_arrays(x[:N_TRAIN], y[:N_TRAIN]), Sample.from_arrays(x[N_TRAIN:], y[N_TRAIN:])


@pytest.fixture(scope="session")
def tagger(jets: tuple[Sample, Sample]) -> Network:
    """A quantised 8-16-12-5 network trained on `jets`; tests must leave it as it is."""
    train, validation = jets
    network = multilayer_perceptron(N_FEATURES, (16, 12), N_CLASSES, seed=0)
    network, _ = fit(
        network, train, validation, settings=Fit(epochs=6, batch_size=256, learning_rate=1e-2, quantised=False), seed=0
    )
    network = quantise(network, train.features.numpy(), Precision(inputs=INPUTS))
    network, _ = fit(network, train, validation, settings=Fit(epochs=3, batch_size=256, learning_rate=3e-3), seed=0)
    return network


@pytest.fixture(scope="module")  # with workers that no other file has killed
def dask_address() -> Iterator[str]:
    """The address of a real Dask cluster of two worker processes; work that kills two of them is given up."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
    ):
        yield cluster.scheduler_address
