"""A program of known operators as a module that torch can run and export again."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch.lowering import call_known, filled
from hepprune.frontends.pytorch.modules import N_JETS, UNTRACEABLE, quiet
from hepprune.frontends.pytorch.program import Program, from_exported


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
            options = {key: filled(entry, values) for key, entry in call.kwargs.items()}
            values[call.name] = call_known(call, filled(call.args, values), options)
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
    sizes: Any = tuple({0: N_JETS} for _ in examples) if free else None
    with quiet():
        try:
            exported = torch.export.export(_Running(program).eval(), examples, dynamic_shapes=sizes)
        except UNTRACEABLE as problem:
            first = (str(problem).splitlines() or [""])[0]
            raise NetworkError(f"the program cannot be exported with the network's sizes: {first[:200]}") from problem
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
