"""Rows of columns as they come out of a file, and which rows of it they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import expressions
from hepprune.data.files import branches
from hepprune.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of the columns of `spec`: an awkward array of records, and their numbers in the file (n_jets,)."""

    columns: Any
    rows: NDArray[np.int64]
    spec: str

    def evaluate(self, texts: Iterable[str]) -> dict[str, Any]:
        """Return the values of columns and expressions, by their text."""
        return {text: expressions.evaluate(text, self.columns) for text in texts}

    def exploded(self, collection: str) -> "Chunk":
        """Return a row for each object of a collection: each entry of the lists `collection_*`, all else repeated.

        Raises:
            DataError: there are no such lists, or they differ in length.
        """
        import awkward as ak

        lists = {name: self.columns[name] for name in self.columns.fields if self._is_of(name, collection)}
        if not lists:
            raise DataError(f"'{self.spec}' has no lists '{collection}_*' among the columns that are read")
        counts = branches.counts(lists, spec=self.spec, nested=True)
        rows = np.repeat(np.arange(len(counts)), counts)
        columns = {n: ak.flatten(lists[n]) if n in lists else self.columns[n][rows] for n in self.columns.fields}
        return Chunk(columns=ak.zip(columns, depth_limit=1), rows=self.rows[rows], spec=self.spec)

    def _is_of(self, name: str, collection: str) -> bool:
        return name.startswith(f"{collection}_") and self.columns[name].ndim > 1

    def take(self, rows: NDArray[np.bool_] | slice) -> "Chunk":
        """Return the rows that a mask or a slice chooses."""
        return Chunk(columns=self.columns[rows], rows=self.rows[rows], spec=self.spec)
