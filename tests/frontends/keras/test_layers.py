"""Every layer class against real Keras 2 and Keras 3, from every kind of file, and back."""

from pathlib import Path

import pytest

from hepprune.frontends import keras
from tests.frontends.keras.models import CASES, FRAMEWORKS, SUFFIXES, assert_agree, case, framework, load, save

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
            weight.data *= 1.0 if "_scale." in place else 0.75  # the scale of attention is no weight
        written = keras.write(network, tmp_path / f"written{suffix}", like=path)
        assert_agree(network, load(native, written))
