"""Make jet-tagging and trigger networks fit the FPGAs of a particle-physics trigger."""

from hepprune.fixed import FixedPoint
from hepprune.network import Network

__version__ = "0.1.0"
__all__ = ["FixedPoint", "Network", "__version__"]
