"""Written modules, weights and programs as torch itself loads and runs them, to compare them with the network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hepprune.frontends.checking import Reading
from hepprune.frontends.pytorch import archive, modules
from hepprune.frontends.pytorch.lowering import Lowered, lower
from hepprune.frontends.pytorch.ports import Ports

IN_CODE = "what a module's code fixes, no weights can move; write a .pt2 program or an .npz instead"
_PROGRAM = "an .npz holds every network"


def module_read(module: nn.Module, lowered: Lowered) -> Reading:
    """Return a module as what it was lowered to and as what torch runs."""
    ports = Ports(lowered.ports.inputs, lowered.ports.outputs, None)  # traced with two jets, made for any number
    return Reading(lowered.network, ports.running(lambda values: _outputs(module, values)), ports.batches, IN_CODE)


def weights_read(path: Path, like: nn.Module) -> Reading:
    """Return a state_dict file as the module of its sizes, as `module:factory@weights.pt` is read."""
    module = modules.loaded(modules.whole(like), modules.state(path), source=path.name)
    return module_read(module, lower(modules.capture(module)))


def program_read(path: Path) -> Reading:
    """Return a `.pt2` file that was just written; torch.export.load unpickles, so it is for no other."""
    read = lower(archive.read(path))
    with modules.quiet():
        module = torch.export.load(path).module()
    run = read.ports.running(lambda values: _called(module, values))
    return Reading(read.network, run, read.ports.batches, _PROGRAM)


@torch.no_grad()
def _outputs(module: nn.Module, values: Sequence[Tensor]) -> list[Tensor]:
    """Run a copy in float64, where sums lose nothing, or as it is where its code makes tensors of its own kind."""
    with modules.in_eval_mode(module), modules.quiet():
        try:
            return _called(modules.copied(module).double(), values)
        except (RuntimeError, TypeError):
            return _called(module, values)


@torch.no_grad()
def _called(module: nn.Module, values: Sequence[Tensor]) -> list[Tensor]:
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(0))
    given = [value.to(like.device, like.dtype).contiguous() for value in values]
    found: Any = module(*given)
    return [leaf.cpu() for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
