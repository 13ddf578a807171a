"""Networks of layers that firmware computes in steps: attention with what is around it, and recurrent layers."""

import itertools

import numpy as np
import torch

from hepprune.fixed import FixedPoint
from hepprune.network import Argmax, BatchNorm, Input, Layer, Network, Softmax
from hepprune.network.layers import Einsum, LayerNorm, Merge, PReLU, Reshape, TopK
from hepprune.network.precision import Precision, quantise
from tests.firmware.networks import BIASES, FEATURES, NARROW, WEIGHTS, Maker

SOFTMAX = {
    "distance_type": FixedPoint(8, 3, False, "RND", "SAT"),
    "exponential_type": FixedPoint(9, 1, False, "RND", "SAT"),
    "total_type": FixedPoint(10, 3, False, "TRN", "SAT"),
    "inverse_type": FixedPoint(9, 1, False, "RND_CONV", "SAT"),
}
LAYER_NORM = {
    "centred_type": FixedPoint(9, 4, True, "RND", "SAT"),
    "squares_type": FixedPoint(12, 8, False, "RND", "SAT"),
    "root_type": FixedPoint(9, 4, False, "RND", "SAT"),
    "normal_type": NARROW,
    "scale_type": WEIGHTS,
    "shift_type": BIASES,
}


def attention(_io_type: str) -> Network:
    """Self-attention of two heads as every frontend reads it, behind it a residual, a layer norm, the largest and a softmax, all with types."""
    make = Maker(7)
    steps, n_heads, size = 3, 2, 2
    layers: list[Layer] = [Input("features", (steps, n_heads * size), FEATURES)]
    sources: dict[str, str | tuple[str, ...]] = {}
    for role in ("query", "key", "value"):
        layers += [make.dense(role, n_heads * size, n_heads * size), Reshape(f"{role}_heads", (steps, n_heads, size))]
        sources |= {role: "features", f"{role}_heads": role}
    scale = {"scale_type": FixedPoint(8, 0, False), "shift_type": BIASES, "result": NARROW}
    layers += [
        Einsum("scores", "qhd,khd->hqk", NARROW),
        BatchNorm("scale", torch.full((1,), size**-0.5), torch.zeros(1), **scale),  # type: ignore[arg-type]
        Softmax("weights", FixedPoint(8, 0, False, "RND", "SAT"), **SOFTMAX),
        Einsum("context", "hqk,khd->qhd", NARROW),
        Reshape("joined", (steps, n_heads * size)),
        make.dense("attention", n_heads * size, n_heads * size),
        Merge("residual", "add"),
        LayerNorm("norm", make.constants(4, scale=1.0), make.constants(4), 1e-3, NARROW, **LAYER_NORM),
        TopK("top", 3),
        PReLU("rectified", torch.tensor([0.3, -0.7, 1.0, 0.1]), NARROW, slope_type=WEIGHTS),
        Reshape("flat", (-1,)),
        make.dense("logits", steps * n_heads * size, 3, result=None),
        Softmax("probabilities", FixedPoint(8, 0, False, "RND", "SAT"), **SOFTMAX),
        Argmax("largest"),
        Reshape("places", (-1,)),
        make.dense("where", steps, 2, result=None),
    ]
    joins = {
        "scores": ("query_heads", "key_heads"),
        "context": ("weights", "value_heads"),
        "residual": ("attention", "features"),
        "largest": "rectified",
    }
    chain = {after.name: before.name for before, after in itertools.pairwise(layers[7:])}
    return Network(layers, {**chain, **sources, **joins}, ["probabilities", "where"])


def cells(_io_type: str) -> Network:
    """Recurrent layers of every kind with the types that are chosen for them, both ways, and a regression beside."""
    make, none = Maker(8), {"weight_type": None, "recurrent_weight_type": None, "bias_type": None, "result": None}
    untyped = {key: none[key] for key in ("weight_type", "bias_type", "result")}
    layers: list[Layer] = [
        Input("features", (2, 3)),
        make.recurrent("gru", "gru", 3, 2, return_sequences=True, **none),
        make.recurrent("back", "gru", 2, 2, backwards=True, in_order=True, return_sequences=True, **none),
        make.recurrent("lstm", "lstm", 2, 2, return_sequences=True, backwards=True, **none),
        make.recurrent("simple", "simple", 2, 2, activation="relu", **none),
        make.dense("logits", 2, 3, **untyped),
        make.recurrent("before", "gru", 3, 2, reset_after=False, **none),
        make.dense("momentum", 2, 1, **untyped),
    ]
    sources = {after.name: before.name for before, after in itertools.pairwise(layers)} | {"before": "features"}
    network = Network(layers, sources, ["logits", "momentum"])
    features = np.random.default_rng(5).normal(size=(300, 2, 3)) * 1.5
    return quantise(network, features, Precision(inputs=FEATURES, activation_bits=7))
