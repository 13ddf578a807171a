"""Makes hgq_NAME.keras, its features and outputs of each model below; run as make_hgq.py says.

`make_hgq_moved.py NAME` makes one of them.
"""

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import keras
import numpy as np
from hgq.config import LayerConfigScope, QuantizerConfigScope
from hgq.layers import (
    QGRU,
    QAdd,
    QDense,
    QEinsumDenseT,
    QLinformerAttention,
    QLinformerAttentionT,
    QMultiHeadAttentionT,
    QUnaryFunctionLUT,
)
from hgq.quantizer import Quantizer, QuantizerConfig
from hgq.quantizer.config import HardSigmoidConfig, HardTanhConfig
from hgq.quantizer.internal import DefaultBitwidthMapper
from hgq.utils import trace_minmax
from make_hgq import packed, spread
from moving import moving

HERE = Path(__file__).parent
DRAWN = {"heterogeneous_axis": None, "homogeneous_axis": (0,)}


def moved() -> keras.Model:
    """Values that are scaled and shifted so that float32 holds each of them."""
    features = keras.Input((6,), name="features")
    scaled = QuantizerConfig("kif", "datalane", scaler=0.75, **DRAWN)
    hidden = QDense(7, iq_conf=scaled, oq_conf=HardSigmoidConfig(**DRAWN), enable_oq=True, name="hidden")(features)
    turned = Quantizer(QuantizerConfig("kif", "datalane", affine=(-0.5, 0.25), scaler=0.5), name="turned")(hidden)
    curved = QUnaryFunctionLUT("tanh", oq_conf=HardTanhConfig(), enable_oq=True, name="curved")(hidden)
    ends = [QuantizerConfig("kbi", "datalane", scaler=-3.0), QuantizerConfig("kbi", "datalane", affine=(0.625, 0))]
    both = QAdd(iq_confs=ends, name="both")([turned, curved])
    mapper = DefaultBitwidthMapper(heterogeneous_axis=(1,))
    mapped = QuantizerConfig("kif", "datalane", bw_mapper=mapper, overflow_mode="SAT")
    return keras.Model(features, QDense(3, iq_conf=mapped, name="logits")(both))


def uneven() -> keras.Model:
    """Values whose scales and shifts round in float32, before and after a function too."""
    features = keras.Input((6,), name="features")
    first = QuantizerConfig("kif", "datalane", scaler=0.3, affine=(1.1, -0.7), **DRAWN)
    hidden = QDense(7, iq_conf=first, name="hidden")(features)
    ends = {"iq_conf": QuantizerConfig("kbi", "datalane", scaler=0.7), "enable_oq": True}
    curved = QUnaryFunctionLUT("tanh", **ends, oq_conf=QuantizerConfig("kif", "datalane", scaler=0.1), name="curved")
    return keras.Model(features, QDense(3, name="logits")(curved(hidden)))


def shared() -> keras.Model:
    """One kernel that mixes keys and values, of the same value and of two."""
    steps = keras.Input((5, 4), name="steps")
    attended = QLinformerAttention(2, (3,), 4, share_kv_proj=True, name="attended")(steps, steps)
    mixed = QLinformerAttention(2, (3,), 3, share_kv_proj=True, name="mixed")(attended, steps, attended)
    return keras.Model(steps, QDense(3, name="logits")(keras.layers.Flatten(name="flat")(mixed)))


def contracted() -> keras.Model:
    """Functions of edges along any axes: the same at every position, of each its own, of two axes at once."""
    steps = keras.Input((4, 3), name="steps")
    own = {"toq_conf": QuantizerConfig("kif", "table", i0=2, f0=4, homogeneous_axis=(0,))}
    wide = {"iq_conf": QuantizerConfig("kif", "datalane", i0=2, f0=3)}
    each = QEinsumDenseT("bnc,cd->bnd", (4, 5), bias_axes="d", d_hl=4, activation="relu", **own, name="each")(steps)
    apart = QEinsumDenseT("bnd,ned->ben", (3, 4), bias_axes="en", n_hl=2, d_hl=3, **wide, name="apart")(each)
    norm = {"batch_norm": True, "normalize_axes": "eh"}
    joined = QEinsumDenseT("ben,enh->bh", 6, **norm, **own, name="joined")(apart)
    grid = keras.layers.Reshape((2, 3), name="grid")(joined)
    ends = {"batch_norm": True, "enable_oq": True}
    turned = QEinsumDenseT("bxy,yz->bzx", (4, 2), **ends, **own, name="turned")(grid)
    return keras.Model(steps, QEinsumDenseT("bzx,zxk->bk", (3,), n_hl=0, name="logits")(turned))


def ordered() -> keras.Model:
    """Functions of edges that are normalised along axes in the kernel's order, and a softmax along an axis they keep."""
    steps = keras.Input((3, 4), name="steps")
    own = {"toq_conf": QuantizerConfig("kif", "table", i0=2, f0=4, homogeneous_axis=(0,))}
    normed = QEinsumDenseT("bne,edn->bnd", (3, 3), batch_norm=True, **own, name="normed")(steps)
    return keras.Model(steps, QEinsumDenseT("bnc,cd->bdn", (5, 3), activation="softmax", **own, name="shares")(normed))


def heads() -> keras.Model:
    """Attention that projects by tables, keys and values mixed by tables, by one of both, and by a kernel."""
    steps = keras.Input((4, 3), name="steps")
    edges = {"d_hl": 3, "qkvo_toq_conf": QuantizerConfig("kif", "table", i0=2, f0=4)}
    attended = QMultiHeadAttentionT(2, 3, value_dim=2, **edges, name="attended")(steps, steps)
    mixed = QLinformerAttentionT(2, (3,), 2, use_bias=False, **edges, name="mixed")(attended, steps)
    own = QuantizerConfig("kif", "table", i0=2, f0=4, homogeneous_axis=(0,))
    one = {"share_kv_proj": True, "n_hl": 0, "qkvo_toq_conf": own}
    both = QLinformerAttentionT(1, (2,), 3, batch_norm=True, **one, name="both")(mixed, steps, mixed)
    kernel = QLinformerAttentionT(2, (3,), 2, lin_kv_proj_mode="dense", **edges, name="kernel")(both, mixed)
    return keras.Model(steps, QDense(3, name="logits")(keras.layers.Flatten(name="flat")(kernel)))


def sloped() -> keras.Model:
    """Gates that rise by an eighth and fall by a half of what is quantised."""
    steps = keras.Input((4, 3), name="steps")
    gates = {"f0": 4, "overflow_mode": "SAT"}
    rising = QuantizerConfig("kif", "datalane", i0=1, affine=(0.125, 0.375), **gates)
    falling = QuantizerConfig("kif", "datalane", i0=0, affine=(-0.5, 0.5), **gates)
    first = QGRU(4, return_sequences=True, praq_conf=rising, name="first")(steps)
    second = QGRU(3, reset_after=False, praq_conf=falling, name="second")(first)
    return keras.Model(steps, QDense(2, name="logits")(second))


def made(build: Callable[[], keras.Model], seed: int) -> tuple[keras.Model, np.ndarray]:
    """Return a model with everything drawn by the seed, and jets that it was traced with."""
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    weights = QuantizerConfigScope(default_q_type="kbi", place="weight", b0=5, overflow_mode="SAT_SYM")
    values = QuantizerConfigScope(default_q_type="kif", place="datalane", i0=3, f0=3)
    with weights, values, LayerConfigScope(enable_ebops=False):
        model = build()
    features = rng.normal(size=(64, *model.input_shape[1:])).astype("float32")
    spread(model, rng)
    for weight in model.weights:
        if weight.path.endswith("kernel") and "einsum_dense" in weight.path:
            weight.assign(1.5 * rng.normal(size=weight.shape).astype("float32"))
    trace_minmax(model, features, verbose=0)
    return model, features


if __name__ == "__main__":
    every = (moved, uneven, shared, contracted, ordered, heads, sloped)
    for build in (each for each in every if each.__name__ in sys.argv[1:] or not sys.argv[1:]):
        drawn = (made(build, seed) for seed in count())
        model, features = next(each for each in drawn if moving(keras.ops.convert_to_numpy(each[0](each[1]))))
        packed(model, HERE / f"hgq_{build.__name__}.keras")
        outputs = keras.ops.convert_to_numpy(model(features))
        np.savez_compressed(HERE / f"hgq_{build.__name__}.npz", features=features, outputs=outputs)
