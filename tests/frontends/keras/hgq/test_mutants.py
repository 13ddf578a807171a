"""Files of HGQ 1, its proxies and HGQ2 with a setting or an array that is another: read, or refused in one sentence."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepprune.errors import NetworkError
from hepprune.frontends import keras as frontend
from tests.frontends.keras.hgq.test_hgq import DATA

ODD = (None, True, -1, 0, 3, 1e999, 2**40, "", "odd", [], [1, 2, 3], {}, {"class_name": "odd"})
FIRST = ("model.h5", "proxy.h5", "proxy.keras")
SECOND = ("attention", "floats", "fused", "gru", "pooled", "recurrent", "tables")
N_MUTANTS = 12


def original(name: str) -> bytes:
    if name not in FIRST:
        return (DATA / f"hgq_{name}.keras").read_bytes()
    with zipfile.ZipFile(DATA / "hgq1.zip") as archive:
        return archive.read(name)


def slots(nest: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (dict or list, key) in a nest of them."""
    for key, value in list(nest.items() if isinstance(nest, dict) else enumerate(nest)):
        yield nest, key
        if isinstance(value, dict | list):
            yield from slots(value)


def edited(config: str | bytes, rng: np.random.Generator) -> str:
    """Return a config with one value of its layers that is another, or gone."""
    described = json.loads(config)
    places = list(slots(described["config"]["layers"]))
    nest, key = places[rng.integers(len(places))]
    if isinstance(nest, dict) and rng.random() < 0.2:
        del nest[key]
    else:
        nest[key] = ODD[rng.integers(len(ODD))]
    return json.dumps(described)


def damaged(file: h5py.File, rng: np.random.Generator) -> None:
    """Give one array other values, another shape, or none."""
    places: list[str] = []
    file.visititems(lambda place, item: places.append(place) if isinstance(item, h5py.Dataset) else None)
    place = places[rng.integers(len(places))]
    values = np.asarray(file[place][()])
    others = (values * 1e6, values - 99, values + 0.5, np.full_like(values, np.nan), np.ones((2, 3)), np.float32(0))
    del file[place]
    choice = rng.integers(len(others) + 1)
    if choice < len(others):
        file[place] = others[choice]


def mutant(content: bytes, path: Path, rng: np.random.Generator) -> Path:
    """Write a file whose config or arrays differ in one place."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            if rng.random() < 0.5:
                file.attrs["model_config"] = edited(file.attrs["model_config"], rng)
            else:
                damaged(file, rng)
        return path
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if rng.random() < 0.5:
        parts["config.json"] = edited(parts["config.json"], rng).encode()
    else:
        arrays = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(arrays, "r+") as file:
            damaged(file, rng)
        parts["model.weights.h5"] = arrays.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return path


@pytest.mark.parametrize("name", [*FIRST, *SECOND])
@pytest.mark.filterwarnings("ignore")
def test_a_mutant_is_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    content, sentences = original(name), list[str]()
    for seed in range(N_MUTANTS):
        path = tmp_path / f"{seed}{'.h5' if name.endswith('h5') else '.keras'}"
        try:
            frontend.read(mutant(content, path, np.random.default_rng(seed)))
        except NetworkError as problem:
            sentences.append(str(problem))
    assert 0 < len(sentences) < N_MUTANTS
    assert all("\n" not in each and len(each) < 2000 for each in sentences)
