"""Columns of files made into jets: features of each input, labels, targets, weights; what is unusable is refused."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import jets, sources
from hepprune.data.expressions import grammar
from hepprune.data.files import branches
from hepprune.data.files.slabs import Chunk
from hepprune.data.inputs import Columns, JetInput
from hepprune.data.jets import Flatten, Jets
from hepprune.data.sources import DataSource
from hepprune.errors import DataError

EVENT = "event"  # the column that regroups jets, where a file has one

logger = logging.getLogger(__name__)


def read(
    source: DataSource,
    *,
    features: Sequence[str],
    n_constituents: int | None = None,
    is_filled: bool = True,
    lsb: Mapping[str, float] | None = None,
    **wanted: Any,
) -> Jets:
    """Read jets, one a row, as one input that has these features.

    With `n_constituents` the features are jagged columns, cut or padded with zeros to (n_jets, n_constituents,
    n_features + 1); the last feature, `isfilled`, is 1 where a constituent is. Features with an `lsb` become
    whole numbers of it. All else is as in `read_inputs`.

    Raises:
        DataError: anything is missing, empty, not finite, of the wrong kind, or labelled beyond `classes`.
    """
    texts = [text for given in features for text in grammar.expanded(given)]
    worth = {text: each for given, each in (lsb or {}).items() for text in grammar.expanded(given)}
    only = Columns(features=tuple(texts), n_constituents=n_constituents, is_filled=is_filled, lsb=worth)
    return read_inputs(source, {"features": only}, **wanted)["features"]


def read_inputs(
    source: DataSource,
    inputs: Mapping[str, JetInput],
    *,
    classes: Sequence[str] = (),
    label: str | Sequence[str] | None = "label",
    targets: Sequence[str] = (),
    event: str | None = EVENT,
    weight: str | None = None,
    cut: str | None = None,
    explode: str | None = None,
    flatten: Flatten | None = None,
    max_jets: int | None = None,
) -> dict[str, Jets]:
    """Read jets as each input sees them, row for row the same, from files or arrays; see data.sources.

    Columns may be expressions of columns. A `label` is a class's number or name, or several columns are, one for each
    class; without one every jet is of class 0. Without an `event` only equal jets are of one; without a `weight` a jet
    weighs 1, and `flatten` makes the distribution of one column flat in each class. `targets` are numbers to be met.
    With `explode` each object of the lists `<explode>_*` is a jet. Of the jets that pass the `cut` only the first
    `max_jets` are read.

    Raises:
        DataError: anything is missing, empty, not finite, of the wrong kind, or labelled beyond `classes`.
    """
    labels = [] if label is None else [label] if isinstance(label, str) else list(label)
    flat = () if flatten is None else (flatten.column,)
    finite = [text for text in (weight, *targets, *flat) if text is not None]
    scalars = list(dict.fromkeys([*([] if event is None else [event]), *finite]))
    wanted = _Wanted(inputs=inputs, labels=labels, scalars=scalars, event=event, cut=cut, explode=explode)
    parts, left = [], max_jets
    for file in sources.files(source):
        for part in _parts(file, wanted, classes, finite, left):
            parts.append(part)
            left = None if left is None else left - len(part.rows)
        if left == 0:
            break
    if not parts:
        raise DataError(f"no jet passes the cut '{cut}' of '{sources.title(source)}'" if cut else "there are no jets")
    part = _joined(parts)
    met = [_narrowed(part.scalars[text]) for text in targets]
    shared: dict[str, Any] = {
        "y": part.y,
        "weight": _weights(part, weight, flatten),
        "event": jets.hashes(part.x.values()) if event is None else part.scalars[event].astype(np.int64),
        "class_names": tuple(classes),
        "targets": np.stack(met, axis=-1) if met else np.zeros((0, 0)),
    }
    return {name: Jets(x=part.x[name], feature_names=each.names, **shared) for name, each in inputs.items()}


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is read of every file."""

    inputs: Mapping[str, JetInput]
    labels: Sequence[str]
    scalars: Sequence[str]
    event: str | None
    cut: str | None
    explode: str | None

    @property
    def texts(self) -> list[str]:
        features = [text for each in self.inputs.values() for text in each.expressions]
        return [*features, *self.labels, *self.scalars, *(() if self.cut is None else (self.cut,))]


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Some jets: their rows in the file, the features of each input, their labels, columns of one number each."""

    rows: NDArray[np.int64]
    x: dict[str, NDArray[np.float32]]
    y: NDArray[Any]
    scalars: dict[str, NDArray[Any]]


def _parts(
    file: Any, wanted: _Wanted, classes: Sequence[str], finite: Sequence[str], max_jets: int | None
) -> Iterator[_Chunk]:
    """Yield the jets of one file, as one part that was found sound; none if none passes the cut."""
    parts = [_part(chunk, wanted) for chunk in _chunks(file, wanted, max_jets)]
    if not parts:
        return
    part, spec = _joined(parts), sources.title(file)
    for name, each in wanted.inputs.items():
        for index, feature in enumerate(each.names):
            _check_finite(part.x[name][..., index], feature, spec, part.rows)
    for text in finite:
        _check_finite(_narrowed(part.scalars[text]), text, spec, part.rows)
    if wanted.event is not None:
        branches.integers(part.scalars[wanted.event], where=f"column '{wanted.event}' of '{spec}'")
    where = f"column '{' '.join(wanted.labels)}' of '{spec}'"
    y = branches.labels(part.y, classes, where=where, rows=part.rows) if wanted.labels else part.y
    yield _Chunk(rows=part.rows, x=part.x, y=y, scalars=part.scalars)


def _check_finite(values: NDArray[Any], text: str, spec: str, rows: NDArray[np.int64]) -> None:
    branches.check_finite(values, where=f"column '{text}' of '{spec}'", rows=rows)


def _chunks(file: Any, wanted: _Wanted, max_jets: int | None) -> Iterator[Chunk]:
    """Yield the jets of a file that pass the cut, and of them the first `max_jets`."""
    needed = grammar.columns(wanted.texts, list(sources.columns(file)))
    n_rows = max_jets if wanted.cut is None and wanted.explode is None else None
    n_read, left = 0, max_jets
    for columns in sources.iterate(file, needed, n_rows=n_rows):
        rows = np.arange(n_read, n_read + len(columns))
        n_read += len(columns)
        chunk = Chunk(columns=columns, rows=rows, spec=sources.title(file))
        chunk = chunk if wanted.explode is None else chunk.exploded(wanted.explode)
        chunk = (chunk if wanted.cut is None else chunk.take(_passing(chunk, wanted.cut))).take(slice(left))
        left = None if left is None else left - len(chunk.rows)
        if len(chunk.rows):
            yield chunk
        if left == 0:
            return


def _passing(chunk: Chunk, cut: str) -> NDArray[np.bool_]:
    passing = branches.numbers(chunk.evaluate([cut]), cut, spec=chunk.spec)
    if passing.dtype != np.bool_:
        raise DataError(f"the cut '{cut}' of '{chunk.spec}' is '{passing.dtype}' and not yes or no for each jet")
    return passing


def _part(chunk: Chunk, wanted: _Wanted) -> _Chunk:
    values, spec = chunk.evaluate([*wanted.scalars, *wanted.labels]), chunk.spec
    labels = [branches.label_values(values, text, spec=spec) for text in wanted.labels]
    several = len(labels) > 1
    return _Chunk(
        rows=chunk.rows,
        x={name: each.array(chunk) for name, each in wanted.inputs.items()},
        y=np.stack(labels, axis=-1) if several else labels[0] if labels else np.zeros(len(chunk.rows), np.int64),
        scalars={text: branches.numbers(values, text, spec=spec) for text in wanted.scalars},
    )


def _joined(parts: Sequence[_Chunk]) -> _Chunk:
    first = parts[0]
    if len(parts) == 1:
        return first
    return _Chunk(
        rows=np.concatenate([part.rows for part in parts]),
        x={name: np.concatenate([part.x[name] for part in parts]) for name in first.x},
        y=np.concatenate([part.y for part in parts]),
        scalars={text: np.concatenate([part.scalars[text] for part in parts]) for text in first.scalars},
    )


def _weights(part: _Chunk, weight: str | None, flatten: Flatten | None) -> NDArray[np.float32]:
    own = np.ones(len(part.rows), np.float32)
    if weight is not None:
        values = part.scalars[weight]
        if negative := int((values < 0).sum()):
            raise DataError(f"column '{weight}' weighs {negative} jets less than nothing; take the sign off")
        if not values.any():
            raise DataError(f"column '{weight}' weighs all jets 0")
        own = _narrowed(values)
    return own if flatten is None else flatten.weights(part.scalars[flatten.column].astype(np.float64), part.y, own)


def _narrowed(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # too large for 32 bits becomes infinite, which is refused by name
        return values.astype(np.float32)


def event_column(source: DataSource) -> str | None:
    """Return the column that regroups jets where there is one; warn where there is none, and rows are split alone."""
    first = sources.files(source)[0]
    if EVENT in sources.columns(first):
        return EVENT
    logger.warning("'%s' has no column '%s': jets are split one by one, by a hash of each", sources.title(first), EVENT)
    return None
