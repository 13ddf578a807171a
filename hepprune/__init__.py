"""Make jet-tagging and trigger networks fit the FPGAs of a particle-physics trigger."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hepprune import data, firmware, metrics, pipeline, pruning, recipe, search, synthesis, training
    from hepprune.fixed import FixedPoint
    from hepprune.frontends import read, write
    from hepprune.hardware.cost import estimate
    from hepprune.hardware.resources import Budget, Resources
    from hepprune.hardware.targets import load as target
    from hepprune.jobs.study import study
    from hepprune.network import Network
    from hepprune.network.precision import Precision, quantise
    from hepprune.pruning.plan import prune
    from hepprune.pruning.structure.surgery import shrink
    from hepprune.search.sensitivity import analyse as sensitivity
    from hepprune.task import Task, Tasks
    from hepprune.task.sample import Sample

__version__ = version("hepprune")
__all__ = ["Budget", "FixedPoint", "Network", "Precision", "Resources", "Sample", "Task", "Tasks", "__version__"]
__all__ += ["data", "estimate", "firmware", "metrics", "pipeline", "prune", "pruning", "quantise", "read", "recipe"]
__all__ += ["search", "sensitivity", "shrink", "study", "synthesis", "target", "training", "write"]

_ROOMS = {"data", "firmware", "metrics", "pipeline", "pruning", "recipe", "search", "synthesis", "training"}
_HOMES = {
    "Budget": "hepprune.hardware.resources.Budget",
    "FixedPoint": "hepprune.fixed.FixedPoint",
    "Network": "hepprune.network.Network",
    "Precision": "hepprune.network.precision.Precision",
    "Resources": "hepprune.hardware.resources.Resources",
    "Sample": "hepprune.task.sample.Sample",
    "Task": "hepprune.task.Task",
    "Tasks": "hepprune.task.Tasks",
    "estimate": "hepprune.hardware.cost.estimate",
    "prune": "hepprune.pruning.plan.prune",
    "quantise": "hepprune.network.precision.quantise",
    "read": "hepprune.frontends.read",
    "sensitivity": "hepprune.search.sensitivity.analyse",
    "shrink": "hepprune.pruning.structure.surgery.shrink",
    "study": "hepprune.jobs.study.study",
    "target": "hepprune.hardware.targets.load",
    "write": "hepprune.frontends.write",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use, so that `import hepprune` stays light."""
    if name in _ROOMS:
        return import_module(f"hepprune.{name}")
    if name in _HOMES:
        home, _, attribute = _HOMES[name].rpartition(".")
        return getattr(import_module(home), attribute)
    raise AttributeError(f"module 'hepprune' has no attribute '{name}'")
