"""ROOT files, trees and columns as uproot opens them; whatever it raises on a damaged one is one sentence."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hepprune.errors import DataError, HeppruneError

_TREES = ("TTree", "ROOT::RNTuple")
_ROOT = "a ROOT file, or a damaged one"


@contextmanager
def sound(what: str) -> Iterator[None]:
    """Turn anything that uproot raises on bytes that make no sense, assertions too, into one sentence about `what`."""
    try:
        yield
    except DataError:
        raise
    except HeppruneError as problem:
        raise DataError(f"{what}: {problem}") from problem
    except Exception as problem:
        lines = str(problem).strip().splitlines()
        raise DataError(f"{what}: {': '.join([type(problem).__name__, *lines[:1]])}") from problem


def split(spec: str) -> tuple[str, str]:
    """Return the file and the tree that `file.root:path/to/tree` names; the tree is "" where none is named."""
    name, separator, path = ("", "", "") if Path(spec).exists() else spec.rpartition(":")
    return (name, path) if separator else (spec, "")


def opened(path: str | Path, what: str, opening: Callable[[], Any]) -> Any:
    """Return what opening a file makes of it; `what` says what the file should be.

    Raises:
        DataError: the file is missing, or is not that.
    """
    if not Path(path).is_file():
        raise DataError(f"there is no file '{path}'")
    with sound(f"'{path}' is not {what}"):
        return opening()


def file(name: str) -> Any:
    """Return an open ROOT file, to be closed by `with`.

    Raises:
        DataError: the file is missing or is not a ROOT file.
    """
    import uproot

    return opened(name, _ROOT, lambda: uproot.open(name, array_cache=None))  # every basket is read once


@contextmanager
def tree(spec: str) -> Iterator[tuple[str, Any]]:
    """Yield the tree `file.root:path/to/tree`, or the only one of a file, and its spec in full.

    Raises:
        DataError: the file cannot be read, or has no such tree.
    """
    name, path = split(spec)
    with file(name) as whole:
        trees = paths(whole, name)
        if not path and len(trees) == 1:
            path = trees[0]
        if path not in trees:
            raise DataError(f"'{name}' has no tree '{path}'; it has: {', '.join(trees) or 'none'}")
        with sound(f"the tree '{path}' of '{name}' cannot be read"):
            found = whole[path]
        yield f"{name}:{path}", found


def paths(file: Any, name: str) -> list[str]:
    """Return the paths of the trees of an open file."""
    with sound(f"'{name}' is not {_ROOT}"):
        return list(file.keys(cycle=False, filter_classname=_TREES))


def columns(tree: Any, spec: str) -> list[tuple[str, Any]]:
    """Return a tree's columns, parts of records among them, with their names, of which two may be the same."""
    with sound(f"the tree of '{spec}' cannot be read"):
        return list(tree.iteritems())


def named(tree: Any, names: Sequence[str], spec: str) -> dict[str, Any]:
    """Return the columns of these names.

    Raises:
        DataError: there is none of a name, or more than one.
    """
    found = columns(tree, spec)
    known = [name for name, _ in found]
    check_known(names, known, spec)
    for name in names:
        if known.count(name) > 1:
            raise DataError(f"'{spec}' has {known.count(name)} columns '{name}', which cannot be told apart")
    return {name: dict(found)[name] for name in names}


def check_known(names: Iterable[str], known: Sequence[str], spec: str) -> None:
    """Refuse names of columns that there are not.

    Raises:
        DataError: names the first of them and the nearest of those there are.
    """
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)[:8]
            raise DataError(f"'{spec}' has no column '{name}'; the nearest are: {', '.join(near)}")


def specs(trees: Mapping[str, str | None]) -> list[str]:
    """Return files and their trees as uproot names them, `{"jets.root": "Jets"}`, as `jets.root:Jets` each."""
    return [f"{file}:{tree}" if tree else file for file, tree in trees.items()]
