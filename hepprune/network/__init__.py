"""The one model type: typed layers in a graph, in torch, bit-accurate under their quantisers."""

from hepprune.network import layers
from hepprune.network.graph import Network
from hepprune.network.layers import *  # noqa: F403 -- the layers are names of this package too
from hepprune.network.node import Node
from hepprune.network.ranges import exact_activations, exact_logits, exact_raw
from hepprune.network.rules import Rules
from hepprune.network.storage import identity, load, save

__all__ = ["Network", "Node", "Rules", "exact_activations", "exact_logits", "exact_raw", "identity", "load", "save"]
__all__ += layers.__all__
