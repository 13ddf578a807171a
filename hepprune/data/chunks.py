"""Rows of columns as they come out of a file, and which rows of it they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import expressions


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of the columns of `spec`: an awkward array of records, and their numbers in the file (n_jets,)."""

    columns: Any
    rows: NDArray[np.int64]
    spec: str

    def evaluate(self, texts: Iterable[str]) -> dict[str, Any]:
        """Return the values of columns and expressions, by their text."""
        return {text: expressions.evaluate(text, self.columns) for text in texts}

    def take(self, rows: NDArray[np.bool_] | slice) -> "Chunk":
        """Return the rows that a mask or a slice chooses."""
        return Chunk(columns=self.columns[rows], rows=self.rows[rows], spec=self.spec)
