"""Layers of Keras itself, each as the layers of a Network that compute the same; all are in `registry.LAYERS`."""

from hepprune.frontends.keras.layers import (
    activations,
    attention,
    contraction,
    convolution,
    einsum,
    merging,
    normalisation,
    operations,
    parts,
    recurrent,
    shaping,
    weighted,
)

__all__ = [
    "activations",
    "attention",
    "contraction",
    "convolution",
    "einsum",
    "merging",
    "normalisation",
    "operations",
    "parts",
    "recurrent",
    "shaping",
    "weighted",
    "wrappers",
]
