"""Every layer class against real Keras 2 and Keras 3, from every kind of file, and back."""

from pathlib import Path

import pytest

from hepprune.frontends import keras
from tests.frontends.keras.models import (
    CASES,
    FRAMEWORKS,
    OPERATIONS,
    SUFFIXES,
    assert_agree,
    case,
    framework,
    load,
    operation,
    save,
)

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("package", FRAMEWORKS)
def test_read_computes_what_the_framework_computes_and_writes_it_back(package: str, name: str, tmp_path: Path) -> None:
    native = framework(package)
    model = case(native, name)
    for suffix in SUFFIXES:
        path = save(model, tmp_path / f"model{suffix}")
        network = keras.read(path)
        assert_agree(network, model)
        for place, weight in network.named_parameters():
            weight.data *= 1.0 if "_scale." in place else 0.75  # the scale of attention is not a weight
        written = keras.write(network, tmp_path / f"written{suffix}", like=path)
        assert_agree(network, load(native, written))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@pytest.mark.parametrize(("package", "suffix"), list(zip(FRAMEWORKS, SUFFIXES, strict=True)))
def test_operations_between_layers_are_read_and_written_back(
    package: str, suffix: str, name: str, tmp_path: Path
) -> None:
    """Only in the newer files of Keras 3: its older ones do not tell operations from layers, and it reads none back."""
    native = framework(package)
    model = operation(native, name)
    path = save(model, tmp_path / f"model{suffix}")
    network = keras.read(path)
    assert_agree(network, model)
    written = keras.write(network, tmp_path / f"written{suffix}", like=path)
    assert_agree(network, load(native, written))
