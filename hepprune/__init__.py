"""Make jet-tagging and trigger networks fit the FPGAs of a particle-physics trigger."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hepprune.fixed import FixedPoint
    from hepprune.network import Network
    from hepprune.pruning.plan import prune

__version__ = "0.1.0"
__all__ = ["FixedPoint", "Network", "__version__", "prune"]


_HOMES = {"FixedPoint": "hepprune.fixed", "Network": "hepprune.network", "prune": "hepprune.pruning.plan"}


def __getattr__(name: str) -> Any:
    """Import a name at its first use, so that `import hepprune` stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hepprune' has no attribute '{name}'")
