"""What torch computes, as plain data: calls of aten operators between inputs, constants and outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map_only

from hepprune.errors import NetworkError
from hepprune.fixed.quantisers import FixedPoints

# Fully qualified name and class of the innermost module that made a call.
Scope = tuple[str, str]


@dataclass(frozen=True)
class Ref:
    """The value of an input, constant or call, by its name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operator: `target` is "aten.linear.default", or "getitem" and the like of Python's `operator`."""

    name: str
    target: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    scope: Scope = ("", "")

    @property
    def operator(self) -> str:
        """The operator without namespace, overload and the underscore of those that work in place."""
        return self.target.removeprefix("aten.").removeprefix("hepprune.").split(".")[0].removesuffix("_")

    @property
    def in_place(self) -> bool:
        """Whether the operator overwrites its first argument."""
        return self.target.startswith("aten.") and self.target.split(".")[1].endswith("_")

    @property
    def reads(self) -> set[str]:
        """The names of the values it takes."""
        return names_in((self.args, self.kwargs))


@dataclass(frozen=True, kw_only=True)
class Program:
    """A traced model; `inputs` are shapes with None where a size is free, `constants` name and value by placeholder."""

    inputs: dict[str, tuple[int | None, ...]]
    constants: dict[str, tuple[str, Tensor]]
    calls: tuple[Call, ...]
    outputs: tuple[Ref, ...]
    parameters: frozenset[str] = field(default_factory=frozenset)
    types: Mapping[str, FixedPoints] = field(default_factory=dict)  # of constants, by their names in the model

    def needed(self) -> tuple[Call, ...]:
        """Return the calls that an output depends on, in order."""
        wanted, kept = names_in(list(self.outputs)), []
        for call in reversed(self.calls):
            if call.name in wanted or (call.in_place and call.reads & wanted):
                wanted |= call.reads
                kept.append(call)
        return tuple(reversed(kept))


def aten(call: Call) -> Any:
    """Return the operator as torch has it; only names of the form aten.name.overload get here."""
    _, name, overload = call.target.split(".")
    return getattr(getattr(torch.ops.aten, name), overload)


def named(call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a call by the names of its operator's schema, in its order.

    Raises:
        NetworkError: one is given twice, by its place and by its name.
    """
    names = (argument.name for argument in aten(call)._schema.arguments)  # noqa: SLF001 -- the only place of names
    found = dict(zip(names, args, strict=False))
    if twice := found.keys() & kwargs.keys():
        raise NetworkError(f"'{call.name}' ({call.target}) is given {', '.join(sorted(twice))} twice")
    return found | dict(kwargs)


def names_in(value: Any) -> set[str]:
    """Return the names that a nest of lists refers to."""
    return {leaf.name for leaf in tree_leaves(value) if isinstance(leaf, Ref)}


def from_exported(exported: ExportedProgram) -> Program:
    """Return the program that `torch.export.export` traced."""
    inputs, constants, parameters = {}, {}, set()
    nodes = {node.name: node for node in exported.graph.nodes}
    values = {**exported.constants, **exported.state_dict}
    for spec in exported.graph_signature.input_specs:
        name = getattr(spec.arg, "name", "")
        if spec.kind is InputKind.USER_INPUT:
            value = nodes[name].meta.get("val")
            if not isinstance(value, Tensor):
                raise NetworkError(f"input '{name}' of the program is not a tensor")
            shape: tuple[Any, ...] = tuple(value.shape)  # symbols stand where a size is free
            inputs[name] = tuple(size if isinstance(size, int) else None for size in shape)
        elif isinstance(values.get(spec.target or ""), Tensor):
            constants[name] = (str(spec.target), values[str(spec.target)].detach().cpu())
            parameters |= {str(spec.target)} if spec.kind is InputKind.PARAMETER else set()
    outputs = exported.graph_signature.output_specs
    changed = [spec.target for spec in outputs if spec.kind is not OutputKind.USER_OUTPUT]
    if changed:
        raise NetworkError(f"the program changes '{changed[0]}' while it runs; export it in eval mode")
    calls = tuple(_call(node) for node in exported.graph.nodes if node.op == "call_function")
    returned = tuple(Ref(getattr(spec.arg, "name", "")) for spec in outputs)
    return Program(inputs=inputs, constants=constants, calls=calls, outputs=returned, parameters=frozenset(parameters))


def _call(node: Node) -> Call:
    target = str(node.target)
    target = target if target.startswith(("aten.", "hepprune.")) else getattr(node.target, "__name__", "")
    stack = list((node.meta.get("nn_module_stack") or {}).items())
    scope = scoped(stack[-1][0], str(stack[-1][1][0]), _class_name(stack[-1][1][1])) if stack else ("", "")
    args, kwargs = tree_map_only(Node, lambda source: Ref(source.name), (node.args, dict(node.kwargs)))
    return Call(name=node.name, target=target, args=args, kwargs=kwargs, scope=scope)


def scoped(key: str, owner: str, kind: str) -> Scope:
    """Return the scope of a call; a module called for the n-th time has "@n" behind its name, as in torch's key."""
    _, again, number = key.rpartition("@")
    return (f"{owner}@{number}" if again else owner), kind


def _class_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
