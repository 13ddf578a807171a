"""Sample production: shards of jets made in parallel, kept as they finish, and merged into one ROOT file."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hepprune import executors
from hepprune.data.files import root
from hepprune.data.production import collisions, pythia, trigger, writing
from hepprune.errors import DataError, ExecutorError, ToolMissingError, check_known, explained
from hepprune.files import replacing, write_json

JETS_PER_SHARD = 1000
EVENTS_PER_SHARD = 1_000_000
_LARGEST_PYTHIA_SEED = 900_000_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SampleKind:
    """What a sample can be of: its classes, what decides it, how rows of a class are made, and its collections.

    `collections` are the lists of each row, by the beginning of their columns' names, and the columns that count them.
    Shards are `larger` where each begins slowly; `has_background` says that the first class is what a trigger rejects.
    """

    classes: tuple[str, ...]
    settings: Callable[[], dict[str, Any]]
    make: Callable[..., dict[str, Any]]
    collections: Mapping[str, str]
    larger: int = 1
    has_background: bool = False


_OF_TRIGGER = partial(SampleKind, classes=collisions.CLASSES, settings=trigger.settings, larger=5, has_background=True)
KINDS = {
    "jets": SampleKind(
        classes=pythia.CLASSES, settings=pythia.settings, make=pythia.make_jets, collections=writing.CONSTITUENTS
    ),
    "l1_objects": _OF_TRIGGER(make=trigger.make_objects, collections=trigger.COLLECTIONS),
    "calo": _OF_TRIGGER(make=trigger.make_regions, collections=trigger.REGIONS),
}


@dataclass(frozen=True)
class Shard:
    """One file's worth of jets of one class; its number, the seed and the kind decide all that is in it."""

    number: int
    n_jets: int
    seed: int
    kind: str = "jets"

    @property
    def label(self) -> int:
        """The class of all its jets, as an index into the classes of its kind."""
        return self.number % len(KINDS[self.kind].classes)

    @property
    def name(self) -> str:
        """The name of that class."""
        return KINDS[self.kind].classes[self.label]

    def path(self, folder: Path) -> Path:
        """Return where the shard's jets are kept until they are merged."""
        return folder / f"{self.number:06d}-{self.name.replace(' ', '_')}-{self.n_jets}.npz"


def generate(
    n_jets: int,
    out: Path,
    *,
    executor: Executor,
    kind: str = "jets",
    seed: int = 1,
    background: float | None = None,
    constituents: bool = True,
    advance: Callable[[int], object] = lambda _: None,
) -> Path:
    """Make `n_jets` jets, or events of another kind, as many of each class, and write them to the tree `Jets` of `out`.

    Or as many of all but the first class, which is a trigger's `background` and has that share of all.
    The same seed gives the same jets whatever the `executor` (see executors.open) and its number of workers, which need
    no file system in common with this process. Finished shards wait in `<out>.parts`, so that a run that was killed
    goes on where it stopped. `advance` is told of jets as they are made.

    Raises:
        ToolMissingError: Pythia or FastJet is not installed.
        DataError: an unknown kind, too few jets, a share of background where there is none, a seed below zero, parts of
            a production with other settings, or a folder that cannot be written.
        ExecutorError: a worker died; what was made waits in the parts.
    """
    check_installed()
    check_known("kind of sample", kind, KINDS, DataError)
    check_background(kind, background)
    n_classes = len(KINDS[kind].classes)
    if n_jets < n_classes:
        raise DataError(f"cannot make {n_jets} jets: a sample has at least one jet of each of {n_classes} classes")
    if seed < 0:
        raise DataError(f"cannot seed Pythia with {seed}: a seed is 0 or more")
    settings: dict[str, Any] = {"generator": f"pythia8mc {version('pythia8mc')}"}
    settings |= {"clustering": f"fastjet {version('fastjet')}"}
    settings |= KINDS[kind].settings() | {"seed": seed, "n_jets": n_jets} | ({} if kind == "jets" else {"kind": kind})
    settings |= {} if background is None else {"background": background}
    parts = out.with_name(out.name + ".parts")
    _claim(parts, settings)
    shards = plan(n_jets, seed=seed, kind=kind, background=background)
    _make(shards, parts, executor=executor, advance=advance)
    _merge(shards, parts, out, settings=settings, constituents=constituents)
    shutil.rmtree(parts)
    return out


def check_background(kind: str, background: float | None) -> None:
    """Refuse a share of background in a kind that has none, and one that is not a share.

    Raises:
        DataError: it is.
    """
    if background is None:
        return
    if not KINDS[kind].has_background:
        raise DataError(f"the kind {kind} has no background; give its share of l1_objects or calo")
    if not 0 < background < 1:
        raise DataError(f"the share of background lies between 0 and 1, and {background:g} does not")


def check_made(path: Path, *, n_jets: int, seed: int, kind: str = "jets", background: float | None = None) -> None:
    """Refuse a file that `generate` did not make of this kind, with this number of jets, this seed and these settings.

    Versions of Pythia and FastJet may differ.

    Raises:
        DataError: it cannot be read, or was made with others, or not here at all.
    """
    found = root.metadata(path)
    known = found.get("n_jets"), found.get("kind", "jets"), found.get("seed"), found.get("background")
    wanted = n_jets, kind, seed, background
    if known != wanted:
        raise DataError(
            f"'{path}' holds {_described(*known)}, where {_described(*wanted)} are to be made; "
            "remove the file, name another, or ask for what it holds"
        )
    settings = json.loads(json.dumps(KINDS[kind].settings()))
    changed = [name for name in settings if found.get(name) != settings[name]]
    if changed:
        raise DataError(
            f"'{path}' was made with other settings ({', '.join(changed)}) than {kind} are made with now; "
            "remove the file to make it again, or take `make` out of the recipe to use it as it is"
        )


def _described(n_jets: Any, kind: Any, seed: Any, background: Any) -> str:
    return f"{n_jets} {kind} of seed {seed}" + ("" if background is None else f", {background:g} of them background")


def example(path: Path, *, seed: int, kind: str = "jets") -> Path:
    """Write one jet as `generate` does, to see what columns there will be.

    Raises:
        ToolMissingError: Pythia or FastJet is not installed.
    """
    check_installed()
    shard, collections = Shard(0, n_jets=1, seed=seed, kind=kind), KINDS[kind].collections
    writing.write(path, make_shard(shard), order=np.zeros(1, np.intp), metadata={}, collections=collections)
    return path


def plan(n_jets: int, *, seed: int, kind: str = "jets", background: float | None = None) -> list[Shard]:
    """Return the shards that hold `n_jets` jets, in classes that differ by one jet at most but for a `background`."""
    n_classes, most = len(KINDS[kind].classes), JETS_PER_SHARD * KINDS[kind].larger
    shards = []
    for label, left in enumerate(_sizes(n_jets, n_classes, background)):
        for index in range(-(-left // most)):
            size = min(most, left - index * most)
            shards.append(Shard(index * n_classes + label, n_jets=size, seed=seed, kind=kind))
    return sorted(shards, key=lambda shard: shard.number)


def _sizes(n_jets: int, n_classes: int, background: float | None) -> list[int]:
    if background is not None:
        first = min(max(1, round(background * n_jets)), n_jets - n_classes + 1)
        return [first, *_sizes(n_jets - first, n_classes - 1, None)]
    return [n_jets // n_classes + (label < n_jets % n_classes) for label in range(n_classes)]


def make_shard(shard: Shard) -> dict[str, Any]:
    """Return the jets of one shard, by column."""
    entropy = np.random.SeedSequence([shard.seed, shard.number]).generate_state(1)[0]
    pythia_seed = 1 + int(entropy) % _LARGEST_PYTHIA_SEED
    jets = KINDS[shard.kind].make(shard.name, n_jets=shard.n_jets, seed=pythia_seed)
    jets["event"] += shard.number * EVENTS_PER_SHARD
    jets["label"] = np.full(shard.n_jets, shard.label, np.int32)
    return jets


def check_installed() -> None:
    """Refuse to begin where what makes jets is not installed.

    Raises:
        ToolMissingError: Pythia or FastJet is not.
    """
    for package in ("pythia8mc", "fastjet"):
        if find_spec(package) is None:
            raise ToolMissingError(f"making jets needs the Python package {package}: pip install 'hepprune[jets]'")


def _claim(parts: Path, settings: dict[str, Any]) -> None:
    path = parts / "settings.json"
    with explained(DataError, f"the parts of the sample cannot be written to '{parts}':", OSError):
        known = json.loads(path.read_text()) if path.exists() else settings
        changed = [name for name in settings if known.get(name) != settings[name]]
        if changed:
            raise DataError(
                f"'{parts}' holds parts of a production with other settings ({', '.join(changed)}); "
                "finish that one, choose another output file or remove the folder"
            )
        write_json(path, settings)


def _make(shards: list[Shard], parts: Path, *, executor: Executor, advance: Callable[[int], object]) -> None:
    done = [shard for shard in shards if shard.path(parts).exists()]
    if done:
        logger.info("%d of %d shards are there already", len(done), len(shards))
        advance(sum(shard.n_jets for shard in done))
    waiting = [shard for shard in shards if shard not in done]
    try:
        for shard, jets in executors.completed(executor, make_shard, waiting):
            with replacing(shard.path(parts)) as temporary, temporary.open("wb") as file:
                np.savez(file, **jets)
            advance(shard.n_jets)
    except ExecutorError as problem:
        raise ExecutorError(f"{problem}; finished jets wait in '{parts}', from where the command goes on") from problem


def _merge(shards: list[Shard], parts: Path, out: Path, *, settings: dict[str, Any], constituents: bool) -> None:
    columns: dict[str, list[Any]] = {}
    for shard in shards:
        with np.load(shard.path(parts), allow_pickle=False) as jets:
            for name in jets.files:
                if constituents or "constituent" not in name:
                    columns.setdefault(name, []).append(jets[name])
    kind = settings.get("kind", "jets")
    if kind == "jets":
        settings = settings | {"n_constituents": pythia.N_CONSTITUENTS if constituents else 0}
    merged = {name: np.concatenate(blocks) for name, blocks in columns.items()}
    # Shuffled, so that any first rows of the file are a fair sample of all classes.
    order = np.random.default_rng(settings["seed"]).permutation(len(merged["label"]))
    collections = KINDS[kind].collections
    writing.write(out, merged, order=order, metadata=settings, collections=collections)
