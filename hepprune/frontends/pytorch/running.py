"""Modules, weights and programs as torch itself runs, loads and exports them, to compare them with the network."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from hepprune.errors import NetworkError, explained
from hepprune.frontends.checking import Reading
from hepprune.frontends.pytorch import archive, modules
from hepprune.frontends.pytorch.lowering import Lowered, call_known, filled, lower
from hepprune.frontends.pytorch.ports import Ports
from hepprune.frontends.pytorch.program import Program, from_exported
from hepprune.frontends.pytorch.resizing import copied

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
            return _called(copied(module).double(), values)
        except (RuntimeError, TypeError):
            return _called(module, values)


@torch.no_grad()
def _called(module: nn.Module, values: Sequence[Tensor]) -> list[Tensor]:
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(0))
    found: Any = module(*[value.to(like.device, like.dtype).contiguous() for value in values])
    return [leaf.cpu() for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


class _Running(nn.Module):
    """The program, its tensors under their own names."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        for name, tensor in program.constants.values():
            owner: nn.Module = self
            *path, last = name.split(".")
            for part in path:
                if part not in owner._modules:  # noqa: SLF001 -- hasattr would find torch's own attributes
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            if name in program.parameters and tensor.is_floating_point():
                owner.register_parameter(last, nn.Parameter(tensor.detach().clone()))
            else:
                owner.register_buffer(last, tensor.detach().clone())

        # Torch names the inputs of what it exports after the signature's.
        def forward(*inputs: Tensor) -> Any:
            return self.run(inputs)

        named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in program.inputs]
        forward.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
        self.forward = forward

    def run(self, inputs: tuple[Tensor, ...]) -> Any:
        """Run the calls one by one."""
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        values: dict[str, Any] = {key: tensors[name] for key, (name, _) in self.program.constants.items()}
        values |= dict(zip(self.program.inputs, inputs, strict=True))
        for call in self.program.needed():
            values[call.name] = call_known(call, *filled((call.args, call.kwargs), values))
        found = tuple(values[ref.name] for ref in self.program.outputs)
        return found[0] if len(found) == 1 else found


def export(program: Program) -> ExportedProgram:
    """Return the program as torch exports it, its tensors' and modules' names as they were.

    Raises:
        NetworkError: torch cannot run it, because it holds sizes that its tensors no longer have.
    """
    like = next((tensor for _, tensor in program.constants.values() if tensor.is_floating_point()), torch.zeros(0))
    free = any(shape[0] is None for shape in program.inputs.values())
    examples = tuple(torch.zeros(shape[0] or 2, *shape[1:], dtype=like.dtype) for shape in program.inputs.values())  # type: ignore[arg-type]
    sizes: Any = tuple({0: modules.N_JETS} for _ in examples) if free else None
    refused = "the program cannot be exported with the network's sizes:"
    with modules.quiet(), explained(NetworkError, refused, *modules.UNTRACEABLE):
        exported = torch.export.export(_Running(program).eval(), examples, dynamic_shapes=sizes)
    _name_modules(exported, program)
    return exported


def _name_modules(exported: ExportedProgram, program: Program) -> None:
    """Give the new calls the modules of the old ones, by which layers are named, where both are the same calls."""
    old = [call for call in program.needed() if call.target.startswith("aten.")]
    new = {call.name: call for call in from_exported(exported).needed()}
    nodes = [node for node in exported.graph.nodes if node.name in new and str(node.target).startswith("aten.")]
    if [str(node.target) for node in nodes] != [call.target for call in old]:
        return
    for node, call in zip(nodes, old, strict=True):
        owner, kind = call.scope
        node.meta["nn_module_stack"] = {f"L__self__{owner}": (owner.split("@")[0], kind)} if kind else {}
