"""Sample production: shards of jets made in parallel, kept as they finish, and merged into one ROOT file."""

import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hepprune.data import pythia, writing
from hepprune.errors import DataError, PrerequisiteError
from hepprune.files import replacing, write_json

JETS_PER_SHARD = 1000
EVENTS_PER_SHARD = 1_000_000
_LARGEST_PYTHIA_SEED = 900_000_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """One file's worth of jets of one class; its number and the seed decide all that is in it."""

    number: int
    n_jets: int
    seed: int

    @property
    def label(self) -> int:
        """The class of all its jets, as an index into `pythia.CLASSES`."""
        return self.number % len(pythia.CLASSES)

    def path(self, folder: Path) -> Path:
        """Return where the shard's jets are kept until they are merged."""
        return folder / f"{self.number:06d}-{pythia.CLASSES[self.label]}-{self.n_jets}.npz"


def generate(
    n_jets: int,
    out: Path,
    *,
    seed: int = 1,
    workers: int | None = None,
    constituents: bool = True,
    executor: Executor | None = None,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Make `n_jets` jets, a fifth of each class, and write them to the tree `Jets` of the ROOT file `out`.

    The same seed gives the same jets whatever the number of workers (all cores when None). Finished shards wait in
    `<out>.parts`, so that a run that was killed goes on where it stopped. `advance` is told of jets as they are made.
    An `executor` that shares the file system with this process takes the place of the worker processes.

    Raises:
        PrerequisiteError: Pythia or FastJet is not installed.
        DataError: too few jets, a seed below zero, parts of a production with other settings, a folder that cannot be
            written, or a worker that died.
    """
    _check_installed()
    if n_jets < len(pythia.CLASSES):
        raise DataError(
            f"cannot make {n_jets} jets: a sample has at least one jet of each of {len(pythia.CLASSES)} classes"
        )
    if seed < 0:
        raise DataError(f"cannot seed Pythia with {seed}: a seed is 0 or more")
    settings = pythia.settings() | {"seed": seed, "n_jets": n_jets}
    parts = out.with_name(out.name + ".parts")
    _claim(parts, settings)
    shards = plan(n_jets, seed=seed)
    with _workers(workers, executor) as pool:
        _make(shards, parts, pool=pool, advance=advance or (lambda _: None))
    _merge(shards, parts, out, settings=settings, constituents=constituents)
    shutil.rmtree(parts)
    return out


def plan(n_jets: int, *, seed: int) -> list[Shard]:
    """Return the shards that hold `n_jets` jets in classes that differ by one jet at most."""
    n_classes = len(pythia.CLASSES)
    shards = []
    for label in range(n_classes):
        left = n_jets // n_classes + (label < n_jets % n_classes)
        for index in range(-(-left // JETS_PER_SHARD)):
            size = min(JETS_PER_SHARD, left - index * JETS_PER_SHARD)
            shards.append(Shard(index * n_classes + label, n_jets=size, seed=seed))
    return sorted(shards, key=lambda shard: shard.number)


def write_shard(shard: Shard, folder: Path) -> int:
    """Make the jets of one shard, write them to their file in `folder`, and return how many they are."""
    entropy = np.random.SeedSequence([shard.seed, shard.number]).generate_state(1)[0]
    pythia_seed = 1 + int(entropy) % _LARGEST_PYTHIA_SEED
    jets = pythia.make_jets(pythia.CLASSES[shard.label], n_jets=shard.n_jets, seed=pythia_seed)
    jets["event"] += shard.number * EVENTS_PER_SHARD
    jets["label"] = np.full(shard.n_jets, shard.label, np.int32)
    with replacing(shard.path(folder)) as temporary, temporary.open("wb") as file:
        np.savez(file, **jets)  # type: ignore[arg-type]
    return shard.n_jets


def _check_installed() -> None:
    for package in ("pythia8mc", "fastjet"):
        if find_spec(package) is None:
            raise PrerequisiteError(f"making jets needs the Python package {package}: pip install 'hepprune[jets]'")


def _claim(parts: Path, settings: dict[str, Any]) -> None:
    path = parts / "settings.json"
    try:
        known = json.loads(path.read_text()) if path.exists() else settings
        changed = [name for name in settings if known.get(name) != settings[name]]
        if changed:
            raise DataError(
                f"'{parts}' holds parts of a production with other settings ({', '.join(changed)}); "
                "finish that one, choose another output file or remove the folder"
            )
        write_json(path, settings)
    except OSError as problem:
        raise DataError(f"the parts of the sample cannot be written to '{parts}': {problem.strerror}") from problem


def _make(shards: list[Shard], parts: Path, *, pool: Executor, advance: Callable[[int], None]) -> None:
    done = [shard for shard in shards if shard.path(parts).exists()]
    if done:
        logger.info("%d of %d shards are there already", len(done), len(shards))
        advance(sum(shard.n_jets for shard in done))
    waiting = [shard for shard in shards if shard not in done]
    try:
        for future in as_completed([pool.submit(write_shard, shard, parts) for shard in waiting]):
            advance(future.result())
    except BrokenProcessPool as problem:
        raise DataError(
            f"a worker that made jets was killed (is there memory enough?); finished jets wait in '{parts}', "
            "the same command goes on from there"
        ) from problem


def _merge(shards: list[Shard], parts: Path, out: Path, *, settings: dict[str, Any], constituents: bool) -> None:
    columns: dict[str, list[Any]] = {}
    for shard in shards:
        with np.load(shard.path(parts), allow_pickle=False) as jets:
            for name in jets.files:
                if constituents or "constituent" not in name:
                    columns.setdefault(name, []).append(jets[name])
    settings = settings | {"n_constituents": pythia.N_CONSTITUENTS if constituents else 0}
    merged = {name: np.concatenate(blocks) for name, blocks in columns.items()}
    # Shuffled, so that any first rows of the file are a fair sample of all classes.
    order = np.random.default_rng(settings["seed"]).permutation(len(merged["label"]))
    writing.write(out, merged, order=order, metadata=settings)


@contextmanager
def _workers(workers: int | None, executor: Executor | None) -> Iterator[Executor]:
    if executor is not None:
        yield executor
        return
    # Spawned, not forked: the process that calls this may have threads (torch has).
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
    try:
        yield pool
    finally:
        # After an error or Ctrl-C the running shards are finished and kept, the waiting ones are not begun.
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # FastJet prints its banner
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A worker whose parent was killed would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
