"""Random graphs of every kind of layer with the types that `precision.quantise` chooses, for hypothesis to draw."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepprune.fixed import FixedPoint
from hepprune.network import Network
from hepprune.network.precision import Precision, quantise
from tests.pruning import graphs


def jets(network: Network, *, seed: int, n_jets: int = 100) -> NDArray[np.float32]:
    """Return normal features (n_jets, *shape)."""
    shape = (n_jets, *network.input.features_shape)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def typed(network: Network, *, bits: int, overflow: str = "SAT") -> Network:
    """Return a float network with types of that many bits, the inputs' four wider."""
    inputs = FixedPoint(bits + 4, 4, True, "RND", "SAT")
    return quantise(
        network,
        jets(network, seed=1),
        Precision(inputs=inputs, weight_bits=bits, activation_bits=bits, overflow=overflow),
    )


@st.composite
def typed_graphs(draw: st.DrawFn, *, most_bits: int = 12) -> Network:
    """Draw a float network of up to four stages, and give it types of at least 3 bits."""
    network = draw(graphs.graphs(fixed=False))
    return typed(network, bits=draw(st.integers(3, most_bits)), overflow=draw(st.sampled_from(["SAT", "WRAP"])))
