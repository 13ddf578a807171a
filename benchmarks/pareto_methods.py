"""The five ways to small taggers that `benchmarks/pareto.py` compares, each with so many seconds of processor time."""

import os
import subprocess
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

import hepprune
from hepprune import training
from hepprune.errors import NetworkError
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network, precision
from hepprune.network.precision import Precision
from hepprune.pipeline.taggers import Samples
from hepprune.pruning import plan
from hepprune.recipe import Recipe
from hepprune.search import front, moves
from hepprune.search.stages import Problem, Settings
from hepprune.training import Fit

PINNED = ("hgq2==0.2.0", "jax==0.10.2", "keras==3.15.1", "numpy==2.4.6", "scipy==1.17.1", "h5py==3.16.0")
PRICE = partial(cost.estimate, target=targets.load("generic_vu13p"), strategy="distributed_arithmetic")
LUT, MOST = 2400.0, 10_000.0  # of hepprune's ladder: the budget in its middle, and what no rung is above
CUTS = (0.5, 0.65, 0.75, 0.82, 0.87, 0.91, 0.94, 0.96, 0.975, 0.985)
SIZES = ((32, 16, 16), (24, 12, 12), (16, 16, 8), (16, 8, 8), (16, 8), (8, 8), (8,), (4,))
READ = 24  # networks of HGQ2's front that are read
TIMED = 40  # epochs that tell how many a time suffices for; a training of fewer is not compiled
RATE, BATCH = 6e-3, 1024
BASELINE = (10, 20)  # epochs in float, and under quantisers, of what is then made smaller


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a method is given: a recipe with its seed, jets, seconds of processor time, a folder, when it began."""

    recipe: Recipe
    jets: Samples
    seconds: float
    folder: Path
    began: float

    def taken(self) -> float:
        """Return the seconds of processor time since the beginning."""
        return time.process_time() - self.began

    def epochs(self, each: float, *, beside: float = 0.0) -> int:
        """Return how many epochs of so many seconds still fit into the time, beside what takes its seconds anyway."""
        return max(1, int((0.95 * (self.seconds - self.taken()) - beside) / each))


def by_hepprune(job: Job) -> Iterator[Network]:
    """Yield the networks that a front keeps between 300 and 9,600 LUT, its baseline trained in the same time."""
    tagger = dense(job, job.recipe.model.hidden, bits=6, epochs=BASELINE)
    problem = Problem(
        train=job.jets.train,
        validation=job.jets.validation,
        budget=Budget(resources=Resources(lut=LUT)),
        price=PRICE,
        propose=moves.PerKernel({}, moves.ALLOCATED),
        settings=_allocating(TIMED),
        seed=job.recipe.seed,
        teacher=tagger,
    )
    own = max(TIMED, int(job.seconds / 4))  # an epoch of a long training takes less: digits are chosen in fewer of them
    timed = [replace(problem, settings=_allocating(n)) for n in (TIMED, own, 2 * own)]
    _, short, long = _seconds(*(partial(front.descend, tagger, each, [LUT]) for each in timed))
    each = (long - short) / own
    beside = max(0.0, short - own * each)  # what a rung takes, however many its epochs
    rungs = front.ladder(problem.budget, MOST)
    rungs = front.ladder(problem.budget, MOST, epochs=job.epochs(each, beside=beside * len(rungs)))
    epochs = job.epochs(each, beside=beside * len(rungs))
    for kept in front.descend(tagger, replace(problem, settings=_allocating(epochs)), rungs):
        yield kept.network


def _allocating(epochs: int) -> Settings:
    return Settings(bits=True, allocate=Fit(epochs=epochs, batch_size=BATCH, learning_rate=RATE))


def _seconds(*works: Callable[[], object]) -> list[float]:
    """Return the seconds of processor time of each work; the first compiles something, too."""
    at = [time.process_time()]
    for work in works:
        work()
        at.append(time.process_time())
    return np.diff(at).tolist()


def by_magnitude(job: Job, *, bits: int) -> Iterator[Network]:
    """Yield what global magnitude pruning leaves of a tagger of so many bits, cut by cut, each fine-tuned."""
    network = dense(job, job.recipe.model.hidden, bits=bits, epochs=BASELINE)
    each = _seconds(*[lambda: trained(network, job, epochs=TIMED)] * 2)[1] / TIMED
    epochs = max(1, job.epochs(each) // len(CUTS))
    for cut in CUTS:
        try:
            pruned = plan.prune(network, method="magnitude", sparsity=cut)
        except NetworkError:  # a layer would be left empty: magnitudes of all layers lead no further
            return
        network = trained(pruned, job, epochs=epochs)
        yield network


def by_size(job: Job) -> Iterator[Network]:
    """Yield small dense networks of 6 bits, each trained for its share of the time."""
    each = _seconds(*[lambda: dense(job, SIZES[0], bits=6, epochs=(TIMED, TIMED))] * 2)[1] / (2 * TIMED)
    epochs = max(3, job.epochs(each) // len(SIZES))
    for hidden in SIZES:
        yield dense(job, hidden, bits=6, epochs=(epochs // 3, epochs - epochs // 3))


def dense(job: Job, hidden: Sequence[int], *, bits: int, epochs: tuple[int, int]) -> Network:
    """Return a dense tagger trained for some epochs in float, then for some under its quantisers."""
    train, model = job.jets.train, job.recipe.model
    network = training.multilayer_perceptron(train.features.shape[1], tuple(hidden), 5, seed=job.recipe.seed)
    network = trained(network, job, epochs=epochs[0], quantised=False)
    kind = Precision(inputs=model.bits.precision().inputs, weight_bits=bits, activation_bits=bits)
    return trained(precision.quantise(network, train.first(20_000).arrays, kind), job, epochs=epochs[1])


def trained(network: Network, job: Job, *, epochs: int, quantised: bool = True) -> Network:
    """Return a network trained further."""
    settings = Fit(epochs=epochs, batch_size=BATCH, learning_rate=RATE, quantised=quantised)
    return training.fit(network, job.jets.train, job.jets.validation, settings=settings, seed=job.recipe.seed)[0]


def by_hgq2(job: Job) -> Iterator[Network]:
    """Yield networks of the front that HGQ2 keeps, read as any model is; it takes its own time.

    A front that a folder holds already is not trained again.
    """
    if not (job.folder / "taken.json").is_file():
        _train_hgq2(job)
    files = sorted(job.folder.glob("*.keras"), key=lambda path: float(path.stem.rpartition("=")[2]))  # by EBOPs
    for place in sorted(set(np.linspace(0, len(files) - 1, min(READ, len(files))).round().astype(int))):
        yield hepprune.read(files[place])


def _train_hgq2(job: Job) -> None:
    given = job.folder / "jets.npz"
    job.folder.mkdir(parents=True, exist_ok=True)
    parts = {"": job.jets.train, "_validation": job.jets.validation}
    x = {f"x{end}": part.features.numpy() for end, part in parts.items()}
    np.savez(given, **x, **{f"y{end}": part.truth for end, part in parts.items()})
    script = Path(__file__).with_name("hgq2_front.py")
    options = ["--seconds", str(job.seconds), "--seed", str(job.recipe.seed)]
    subprocess.run([str(hgq2(job.folder.parents[1])), str(script), str(given), str(job.folder), *options], check=True)
    given.unlink()


def hgq2(folder: Path) -> Path:
    """Return an interpreter that has HGQ2, in an environment that is made in a folder where none is named."""
    if "HGQ_PYTHON" in os.environ:
        return Path(os.environ["HGQ_PYTHON"])
    python = folder / "hgq2" / "bin" / "python"
    if not (folder / "hgq2" / "made").is_file():
        venv.create(folder / "hgq2", with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINNED], check=True)
        (folder / "hgq2" / "made").touch()
    return python


METHODS: dict[str, Callable[[Job], Iterator[Network]]] = {
    "hepprune": by_hepprune,
    "hgq2": by_hgq2,
    "uniform6": partial(by_magnitude, bits=6),
    "uniform4": partial(by_magnitude, bits=4),
    "dense": by_size,
}
