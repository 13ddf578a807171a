"""Make jet-tagging and trigger networks fit the FPGAs of a particle-physics trigger."""

from typing import TYPE_CHECKING, Any

from hepprune.fixed import FixedPoint
from hepprune.network import Network

if TYPE_CHECKING:
    from hepprune.pruning.plan import prune

__version__ = "0.1.0"
__all__ = ["FixedPoint", "Network", "__version__", "prune"]


def __getattr__(name: str) -> Any:
    """Import `prune` at its first use, so that `import hepprune` stays light."""
    if name == "prune":
        from hepprune.pruning.plan import prune as found

        return found
    raise AttributeError(f"module 'hepprune' has no attribute '{name}'")
