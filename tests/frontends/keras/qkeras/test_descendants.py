"""Layers of packages that build on QKeras, and classes of a name that two packages share."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.fixed.quantisers import Scaled
from hepprune.frontends import keras as frontend
from hepprune.frontends.keras.registry import LAYERS, Native
from hepprune.network import Weighted
from tests.frontends.keras.published import PAGE, loaded, tf
from tests.frontends.keras.qkeras.test_qkeras import known, on_grid, randomised, same
from tests.reference import MORE

NAMES = sorted(kind for kind, known in LAYERS.items() if known.typed and not kind.startswith("PQ"))


@pytest.mark.parametrize("kind", [name for name in NAMES if name.startswith("Q")])
def test_a_layer_that_bears_a_name_of_hgq_never_loses_its_quantiser(kind: str) -> None:
    """Each class of HGQ2's names, with the settings that a package which builds on QKeras gives it."""
    config = {"mystery_quantizer": "quantized_bits(2,0,alpha=1)", "units": 2, "filters": 2}
    native = Native(name="mine", path="mine", kind=kind, config=config, arriving=((4, 4, 3),))
    with pytest.raises(NetworkError, match=r"^layer 'mine' .*(mystery_quantizer|package that is not known here)"):
        LAYERS[kind].lower(native, native.arriving)


@pytest.mark.parametrize(
    ("kind", "instead"),
    [("QSALTAttention", "QMultiHeadAttention"), ("QSimpleSNN", "QSimpleRNN"), ("QLIF", "QGRU")],
)
def test_a_layer_of_hgq_that_is_not_read_names_one_that_is(kind: str, instead: str) -> None:
    native = Native(name="mine", path="mine", kind=kind, config={"iq_conf": None}, arriving=((4, 3),))
    with pytest.raises(NetworkError, match=rf"^layer 'mine' \({kind}\) is of a class that cannot .*; a .*{instead}\b"):
        LAYERS[kind].lower(native, native.arriving)
    assert LAYERS[instead].typed
    assert f"`{kind}`" in PAGE.read_text(encoding="utf-8").partition("## What is refused")[2]


@cache
def einsum_class() -> Any:
    """The EinsumDense that several packages add to QKeras, each its own: the class of Keras with two quantisers."""
    keras = tf().keras
    from qkeras import get_quantizer

    class QEinsumDense(keras.layers.EinsumDense):  # type: ignore[name-defined, misc]
        def __init__(self, *given: Any, kernel_quantizer: Any = None, bias_quantizer: Any = None, **named: Any) -> None:
            super().__init__(*given, **named)
            self.quantisers = {"kernel_quantizer": kernel_quantizer, "bias_quantizer": bias_quantizer}
            self.of_kernel, self.of_bias = get_quantizer(kernel_quantizer), get_quantizer(bias_quantizer)
            if hasattr(self.of_kernel, "_set_trainable_parameter"):
                self.of_kernel._set_trainable_parameter()

        def call(self, x: Any) -> Any:
            put_out = tf().einsum(self.equation, x, self.of_kernel(self.kernel) if self.of_kernel else self.kernel)
            if self.bias is not None:
                put_out += self.of_bias(self.bias) if self.of_bias else self.bias
            return put_out if self.activation is None else self.activation(put_out)

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | self.quantisers

    return QEinsumDense


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize(
    ("equation", "sizes", "suffix"), [("abc,cd->abd", (4, 5), ".h5"), ("abc,bcde->abde", (4, 2, 5), ".keras")]
)
@pytest.mark.parametrize("alpha", ["1", "'auto'", "'auto_po2'"])
def test_an_einsum_of_qkeras_heirs_is_read_with_its_quantisers(
    tmp_path: Path, equation: str, sizes: tuple[int, ...], suffix: str, alpha: str
) -> None:
    einsum, axes = einsum_class(), equation.rpartition("ab")[2]
    inputs = tf().keras.layers.Input((4, 3), name="features")
    kinds = dict.fromkeys(("kernel_quantizer", "bias_quantizer"), f"quantized_bits(5,1,alpha={alpha})")
    layer = einsum(equation, sizes, bias_axes=axes, name="mixed", **kinds)
    model = tf().keras.Model(inputs, known()["QActivation"]("quantized_relu(6,2)")(layer(inputs)))
    randomised(model, np.random.default_rng(1)).save(path := tmp_path / f"model{suffix}")
    network, features = frontend.read(path), on_grid(np.random.default_rng(2), 50, 4, 3)
    kernel = network["mixed"]
    assert isinstance(kernel, Weighted)
    assert kernel.weight_type is not None
    assert kernel.bias_type is not None
    assert (alpha != "1") == isinstance(kernel.weight_type, Scaled)
    same(network, model, features, 1e-6 if alpha == "'auto'" else 0.0)
    with torch.no_grad():
        kernel.weight[:1] = 0
    with tf().keras.utils.custom_object_scope({"QEinsumDense": einsum}):
        again = loaded(frontend.write(network, tmp_path / f"changed{suffix}", like=path))
    same(network, again, features, 1e-6 if alpha == "'auto'" else 0.0)


JEDI = MORE / "hgq" / "alkaid-ae" / "jedi_8.h5"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.skipif(not JEDI.exists(), reason="the published interaction network is not here")
def test_a_tagger_of_later_qkeras_agrees_with_the_released_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its quantisers name a scale of an earlier training, null, which the released QKeras does not know."""
    tf()
    from qkeras import quantized_bits

    def made(cls: Any, config: dict[str, Any]) -> Any:
        assert config.pop("post_training_scale", None) is None
        return cls(**config)

    monkeypatch.setattr(quantized_bits, "from_config", classmethod(made))
    network, features = frontend.read(JEDI), on_grid(np.random.default_rng(0), 1000, 8, 3)
    same(network, loaded(JEDI), features, 1e-6)
    assert np.ptp(np.asarray(loaded(JEDI)(features)), axis=0).all()
