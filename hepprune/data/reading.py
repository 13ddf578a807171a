"""Columns of files made into jets: features of each input, labels, targets, weights; what is unusable is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import branches, grammar, root, spreading
from hepprune.data.chunks import Chunk
from hepprune.data.inputs import Columns, Input
from hepprune.data.jets import Jets
from hepprune.errors import DataError


def read(
    spec: str,
    *,
    features: Sequence[str],
    n_constituents: int | None = None,
    is_filled: bool = True,
    **wanted: Any,
) -> Jets:
    """Read the jets of a tree with one row per jet, as one input that has these features.

    With `n_constituents` the features are jagged columns, cut or padded with zeros to (n_jets, n_constituents,
    n_features + 1); the last feature, `isfilled`, is 1 where a constituent is. All else is as in `read_inputs`.

    Raises:
        DataError: anything is missing, empty, not finite, of the wrong kind, or labelled beyond `classes`.
    """
    texts = [text for given in features for text in spreading.expanded(given)]
    only = Columns(features=tuple(texts), n_constituents=n_constituents, is_filled=is_filled)
    return read_inputs(spec, {"features": only}, **wanted)["features"]


def read_inputs(
    spec: str,
    inputs: Mapping[str, Input],
    *,
    classes: Sequence[str] = (),
    label: str | None = "label",
    targets: Sequence[str] = (),
    event: str | None = "event",
    weight: str | None = None,
    cut: str | None = None,
    max_jets: int | None = None,
) -> dict[str, Jets]:
    """Read the jets of a tree as each input sees them, row for row the same; columns may be expressions of columns.

    Without a `label` every jet is of class 0, without an `event` its own event; without a `weight` it weighs 1.
    `targets` are numbers to be met. Of the jets that pass the `cut` only the first `max_jets` are read.

    Raises:
        DataError: anything is missing, empty, not finite, of the wrong kind, or labelled beyond `classes`.
    """
    scalars = list(dict.fromkeys(text for text in (label, event, weight, *targets) if text is not None))
    texts = [*(text for each in inputs.values() for text in each.expressions), *scalars]
    chunks = _chunks(spec, texts, cut=cut, max_jets=max_jets)
    read = _joined([_block(chunk, inputs, scalars) for chunk in chunks], where=f"cut '{cut}' of '{spec}'")
    for name, each in inputs.items():
        for index, feature in enumerate(each.names):
            read.check_finite(read.x[name][..., index], feature, spec)
    numbers = {text: _narrowed(read.scalars[text]) for text in (*targets, *(() if weight is None else (weight,)))}
    for text, values in numbers.items():
        read.check_finite(values, text, spec)
    n_jets = len(read.rows)
    shared: dict[str, Any] = {
        "y": np.zeros(n_jets, np.int64) if label is None else _labels(read, label, len(classes), spec),
        "weight": np.ones(n_jets, np.float32) if weight is None else numbers[weight],
        "event": np.arange(n_jets) if event is None else _events(read, event, spec),
        "targets": np.stack([numbers[text] for text in targets], axis=-1) if targets else np.zeros((0, 0)),
        "class_names": tuple(classes),
    }
    return {name: Jets(x=read.x[name], feature_names=each.names, **shared) for name, each in inputs.items()}


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Jets of some chunks: the features of each input, and columns with one number for each jet."""

    rows: NDArray[np.int64]
    x: dict[str, NDArray[np.float32]]
    scalars: dict[str, NDArray[Any]]

    def check_finite(self, values: NDArray[Any], text: str, spec: str) -> None:
        branches.check_finite(values, where=f"column '{text}' of '{spec}'", rows=self.rows)


def _chunks(spec: str, texts: Sequence[str], *, cut: str | None, max_jets: int | None) -> Iterator[Chunk]:
    """Yield the jets that pass the cut, and of them the first `max_jets`."""
    wanted = texts if cut is None else [*texts, cut]
    needed = grammar.columns(wanted, root.names(spec))
    n_rows, n_read, n_passed = max_jets if cut is None else None, 0, 0
    for columns in root.iterate(spec, needed, n_rows=n_rows):
        chunk = Chunk(columns=columns, rows=np.arange(n_read, n_read + len(columns)), spec=spec)
        n_read += len(columns)
        chosen = chunk if cut is None else chunk.take(_passing(chunk, cut))
        left = len(chosen.rows) if max_jets is None else max_jets - n_passed
        if len(chosen.rows):
            yield chosen.take(slice(left))
        n_passed += len(chosen.rows)
        if max_jets is not None and n_passed >= max_jets:
            return


def _passing(chunk: Chunk, cut: str) -> NDArray[np.bool_]:
    passing = branches.numbers(chunk.evaluate([cut]), cut, spec=chunk.spec)
    if passing.dtype != np.bool_:
        raise DataError(f"the cut '{cut}' of '{chunk.spec}' is '{passing.dtype}' and not yes or no for each jet")
    return passing


def _block(chunk: Chunk, inputs: Mapping[str, Input], scalars: Sequence[str]) -> _Block:
    values = chunk.evaluate(scalars)
    return _Block(
        rows=chunk.rows,
        x={name: each.array(chunk) for name, each in inputs.items()},
        scalars={text: branches.numbers(values, text, spec=chunk.spec) for text in scalars},
    )


def _joined(blocks: Sequence[_Block], *, where: str) -> _Block:
    if not blocks:
        raise DataError(f"no jet passes the {where}")
    first = blocks[0]
    return _Block(
        rows=np.concatenate([block.rows for block in blocks]),
        x={name: np.concatenate([block.x[name] for block in blocks]) for name in first.x},
        scalars={text: np.concatenate([block.scalars[text] for block in blocks]) for text in first.scalars},
    )


def _labels(read: _Block, label: str, n_classes: int, spec: str) -> NDArray[np.int64]:
    return branches.labels(read.scalars[label], n_classes, where=f"column '{label}' of '{spec}'", rows=read.rows)


def _events(read: _Block, event: str, spec: str) -> NDArray[np.int64]:
    return branches.integers(read.scalars[event], where=f"column '{event}' of '{spec}'")


def _narrowed(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # too large for 32 bits becomes infinite, which is refused by name
        return values.astype(np.float32)
