"""HDF5 files: datasets of one row per jet, columns named as the datasets or as the file names their features."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hepprune.data.files import slabs, trees
from hepprune.data.files.slabs import Slab
from hepprune.errors import DataError

# Which dataset names the features of which, in the LHC jet samples; elsewhere `x` may be named by `xNames`.
_NAMES = {"jets": "jetFeatureNames", "jetConstituentList": "particleFeatureNames"}


@contextmanager
def opened(spec: str) -> Iterator[dict[str, Slab]]:
    """Yield the columns of `file.h5`, or of `file.h5:group`.

    Raises:
        DataError: the file or the group is missing or damaged.
    """
    import h5py  # type: ignore[import-untyped]

    name, group = trees.split(spec)
    if not Path(name).is_file():
        raise DataError(f"there is no file '{name}'")
    with trees.sound(f"'{name}' is not an HDF5 file, or a damaged one"):
        file = h5py.File(name, "r")
    with file:
        with trees.sound(f"'{spec}' cannot be read"):
            if group and not isinstance(file.get(group), h5py.Group):
                raise DataError(f"'{name}' has no group '{group}'")
            found = _slabs(file[group] if group else file)
        yield found


def _slabs(group: Any) -> dict[str, Slab]:
    import h5py

    found: dict[str, Slab] = {}
    datasets: dict[str, Any] = {}
    group.visititems(lambda name, each: datasets.update({name: each}) if isinstance(each, h5py.Dataset) else None)
    for name, dataset in datasets.items():  # nothing is followed that may lead out of the file, as links do
        if dataset.external or dataset.is_virtual:
            continue
        names = datasets.get(_NAMES.get(name, f"{name}Names"))
        if name not in {*_NAMES.values(), *(f"{each}Names" for each in datasets)}:
            given = [] if names is None else names[:]
            texts = [each.decode() if isinstance(each, bytes) else str(each) for each in given]
            found |= slabs.slabs(name, dataset, texts)
    return found
