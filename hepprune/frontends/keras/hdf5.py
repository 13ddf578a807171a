"""HDF5 files of strangers: hard links only, nothing outside the file, sizes bounded, every number finite."""

import io
import mmap
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np

from hepprune.errors import NetworkError
from hepprune.frontends.keras.registry import Floats

_MAX_BYTES = 2**30
_MAX_ARRAYS = 2**17
# What HGQ 1 counts of a layer's cost in training, no number where it has not seen any values; archives only number it.
_COUNTED = re.compile(r"/bops:0$|/h_[a-z0-9_]+/vars/\d+$")
# A global heap, where HDF5 keeps texts: its signature and size, then objects, each with an index (0: free space), a
# count of references and a size.
_HEAP, _HEAP_SIZE, _OBJECT = re.compile(rb"GCOL\x01\x00{3}"), struct.Struct("<Q"), struct.Struct("<HHIQ")
_MAX_OBJECTS = 2**20


@contextmanager
def opened(source: Path | bytes) -> Iterator[h5py.File]:
    """Open a file, or the content of one, for reading.

    Raises:
        NetworkError: HDF5 would not come back from reading it.
        OSError, ValueError: it is not HDF5.
    """
    if isinstance(source, bytes):
        _check_heaps(source)
    else:
        with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check_heaps(content)
    with h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as found:
        yield found


def _check_heaps(content: bytes | mmap.mmap) -> None:
    """Refuse a heap with free space of no size: HDF5 1.14 would look behind it for ever, and not notice Ctrl-C."""
    n_objects = 0
    for heap in _HEAP.finditer(content):
        place, end = heap.end(), len(content) - _OBJECT.size
        if place <= end:
            end = min(end, heap.start() + _HEAP_SIZE.unpack_from(content, place)[0] - _OBJECT.size)
        place += _HEAP_SIZE.size
        while place <= end:
            index, _, _, size = _OBJECT.unpack_from(content, place)
            n_objects += 1
            if (index, size) == (0, 0) or n_objects > _MAX_OBJECTS:
                raise NetworkError(f"its texts are damaged at byte {place}")
            place += size if index == 0 else _OBJECT.size + -(-size // 8) * 8


def joined(*parts: str) -> str:
    """Return a place in a file, empty parts left out."""
    return "/".join(part for part in parts if part)


class ArrayFile:
    """An open HDF5 file that gives arrays out as float64 and refuses to give more than 2**30 bytes in all."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._bytes = 0

    def _find(self, place: str) -> Any:
        """Return the object at a place, None where there is none; links to other files are refused."""
        found: Any = self._file
        for part in place.split("/"):
            if not part:
                continue
            link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise NetworkError(f"'{place}' is a link to elsewhere, which is not followed")
            found = found[part]
        return found

    def _group(self, place: str) -> h5py.Group | None:
        found = self._find(place)
        return found if isinstance(found, h5py.Group) else None

    def has(self, place: str) -> bool:
        """Return whether a group is there."""
        return self._group(place) is not None

    def array(self, place: str, owner: str) -> Floats:
        """Return the numbers at a place, those of layer `owner`."""
        found = self._find(place)
        if not isinstance(found, h5py.Dataset):
            raise NetworkError(f"layer '{owner}' has no array at '{place}'")
        if found.dtype.kind not in "fiub" or found.external or found.is_virtual or found.shape is None:
            raise NetworkError(f"layer '{owner}' has an array of {found.dtype} at '{place}', no plain numbers")
        self._bytes += 8 * int(found.size)
        if self._bytes > _MAX_BYTES:
            raise NetworkError(f"the arrays up to layer '{owner}' {found.shape} take more than {_MAX_BYTES} bytes")
        values: Floats = np.asarray(found[()], dtype=np.float64)
        # how fast HGQ2 lets a wrapping quantiser narrow in training, at once where infinite
        is_speed = values.ndim == 0 and place.endswith(("quantizer/vars/3", "/i_decay_speed"))
        is_count = values.ndim == 0 and _COUNTED.search(place) is not None
        if not (np.isfinite(values).all() or (is_speed and values == np.inf) or is_count):
            raise NetworkError(f"layer '{owner}' holds a weight that is NaN or infinite at '{place}'")
        return values

    def names(self, group: str, attribute: str) -> list[str]:
        """Return the names an attribute of a group lists, which Keras cuts into numbered pieces when it is long."""
        found = self._group(group)
        if found is None:
            return []
        numbered = takewhile(found.attrs.__contains__, (f"{attribute}{number}" for number in count()))
        pieces = [attribute] if attribute in found.attrs else numbered
        listed = [name for piece in pieces for name in np.asarray(found.attrs[piece]).ravel().tolist()]
        return [name.decode() if isinstance(name, bytes) else str(name) for name in listed]

    def named(self, container: str) -> dict[str, str]:
        """Return the groups of a container by the layer name that newer Keras writes at their variables."""
        found = self._group(container)
        names: dict[str, str] = {}
        for key in found or ():
            variables = self._group(joined(container, key, "vars"))
            if variables is not None and "name" in variables.attrs:
                names[str(variables.attrs["name"])] = key
        return names

    def numbered(self, container: str, kind: str) -> list[str]:
        """Return the groups of a container that are called by a class and a number, in the order of those."""
        found = [re.fullmatch(rf"{re.escape(kind)}(?:_(\d{{1,9}}))?", key) for key in self._group(container) or ()]
        return [match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1] or 0))]

    def places(self, group: str) -> list[str]:
        """Return the place of every array below a group, relative to it."""
        found: list[str] = []
        waiting = [""]
        while waiting:
            here = waiting.pop()
            for key in self._group(joined(group, here)) or ():
                place = joined(here, key)
                if self.has(joined(group, place)):
                    waiting.append(place)
                else:
                    found.append(place)
                if len(found) + len(waiting) > _MAX_ARRAYS:
                    raise NetworkError(f"'{group}' holds more than {_MAX_ARRAYS} arrays")
        return sorted(found)
