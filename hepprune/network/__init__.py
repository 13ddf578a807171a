"""The one model type: typed layers in a graph, in torch, bit-accurate under their quantisers."""

from hepprune.network.graph import Network, exact_activations, exact_logits
from hepprune.network.layers import Argmax, BatchNorm, Dense, Input, Layer, ReLU, Softmax
from hepprune.network.storage import identity, load, save

__all__ = [
    "Argmax",
    "BatchNorm",
    "Dense",
    "Input",
    "Layer",
    "Network",
    "ReLU",
    "Softmax",
    "exact_activations",
    "exact_logits",
    "identity",
    "load",
    "save",
]
