"""Table layers of HGQ2: every edge between an input and an output is a learned function of one value.

An edge is read as what it computes for every argument that its type holds: a layer that hands each input to its edges,
in the edge's own type, a table for each, and a layer that sums them. Edges that are always zero are left out. Written
back, inputs and outputs that are gone take their functions with them, and a dead edge's last kernel is zero.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import explained
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.keras.hgq.floats import ValueTypes
from hepprune.frontends.keras.hgq.types import each, holder, nothing, type_of
from hepprune.frontends.keras.hgq.values import ends, value_quantiser
from hepprune.frontends.keras.layers import weighted
from hepprune.frontends.keras.layers.activations import with_activation
from hepprune.frontends.keras.registry import Floats, Native, Part, Parts, after, only
from hepprune.network import Dense, Lookup, Shape, Weighted
from hepprune.network.layers.activation import FUNCTIONS

ONE = FixedPoint(1, 1, False, "RND", "SAT")  # of weights that put out what they read, in training too
# Of biases that are zero, in training too: it holds nothing else that a value is, so that no constant is moved there.
ZERO = FixedPoint(1, 40, False, "RND", "SAT")
_SIMILAR = ("tanh", "sigmoid", "softplus", "softsign", "elu", "selu", "gelu", "swish", "exponential")
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: FUNCTIONS[name] for name in _SIMILAR},
    "silu": FUNCTIONS["swish"],
    "relu": torch.relu,
    "linear": lambda values: values,
    "None": lambda values: values,
}
_MAX_BITS, MAX_ENTRIES = 12, 2**23
_MAX_HIDDEN = 2**28  # values between the layers of the functions, of all entries together


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The sizes of a table layer: inputs, outputs, and the inputs that are channels of one position.

    There are functions for each of the `shared` places, and what is made of them differs along `positions`.
    """

    n_in: int
    n_out: int
    channels: int
    shared: Shape = ()
    positions: Shape = ()


def sizes(native: Native, shape: Shape) -> Edges:
    """Return the numbers of inputs and outputs, those of a convolution over its whole window."""
    if native.kind == "QDenseT":
        # a QEinsumDenseT gives tuples, where a file would have lists
        own = {key: value for key in ("shared", "positions") if isinstance(value := native.config.get(key), tuple)}
        return Edges(n_in=shape[-1], n_out=native.size("n_out"), channels=shape[-1], **own)
    window = math.prod(native.sizes("kernel_size", len(shape) - 1))
    return Edges(n_in=window * shape[-1], n_out=native.size("filters"), channels=shape[-1])


@torch.no_grad()
def tables(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return what hands values to the edges, their tables, and what sums them."""
    edges = sizes(native, only(native, arriving))
    sides = (("iq_conf", "iq"), ("toq_conf", "toq"))
    arguments, outputs = (_by_edge(native, key, place, edges) for key, place in sides)
    table = _table(native, edges, holder(arguments), outputs)
    kept = torch.nonzero(table.ne(0).any(dim=-1).reshape(-1, table.shape[-2]).any(dim=0)).flatten()
    kept = kept if len(kept) else torch.zeros(1, dtype=torch.long)
    kinds = each(arguments, lambda array: array[..., kept.numpy()])
    kernel = np.eye(edges.n_in)[:, kept.numpy() // edges.n_out]
    bare = replace(native, stored={}).filled([kernel], units=len(kept), filters=len(kept), use_bias=False)
    if native.kind == "QDenseT":
        (part,) = weighted.dense(bare, arriving)
    else:
        window = native.sizes("kernel_size", len(arriving[0]) - 1)
        shaped = bare.filled([kernel.reshape(*window, edges.channels, -1)])
        (part,) = weighted.conv(replace(shaped, kind=native.kind.replace("T", "")), arriving)
    if not isinstance(part.layer, Weighted):
        raise native.refuse("cannot be taken over")
    layer = part.layer
    named = (native.part("edges"), native.part("tables"))
    rows = torch.arange(edges.n_out)[:, None] == (kept % edges.n_out)[None]
    total = Dense(native.name, rows.float(), torch.zeros(edges.n_out))
    parts = [
        Part(_gates(layer).rebuilt(name=named[0], result=kinds)),
        Part(Lookup(named[1], table[..., kept, :], holder(kinds), numbers=kept), (named[0],)),
        Part(_gates(total), (named[1],)),
    ]
    return after(with_activation(native, parts), *value_quantiser(native, ends(native)[1]))


def _gates(layer: Weighted) -> Weighted:
    """Return a layer whose ones may become zeros, in training too, but whose zeros hand nothing to other edges."""
    limit = layer.digit_limit * (layer.weight != 0)
    return layer.rebuilt(weight_type=ONE, bias_type=ZERO, digit_limit=limit)


def _by_edge(native: Native, key: str, place: str, edges: Edges) -> ValueTypes:
    """Return the types of a quantiser as one axis of edges behind those of positions, which are few where all share."""
    found = type_of(native, key, place)
    if found is None:
        raise native.refuse(f"has no {key}, so that its functions have no table")
    shape = (*nothing(found).shape[1:-2], edges.n_in, edges.n_out)
    if math.prod(shape) > MAX_ENTRIES:
        raise native.refuse(f"has functions for {math.prod(shape)} edges, which are not small tables")

    def laid_out(array: NDArray[Any]) -> NDArray[Any]:
        whole = np.broadcast_to(array[0], shape)
        while whole.ndim > 2 and whole.shape[0] == 1:
            whole = whole[0]
        return whole.reshape(*whole.shape[:-2], -1)

    with explained(native.refuse, f"has bit widths for its {key} that do not fit {shape}", ValueError):
        return each(found, laid_out)


def _table(native: Native, edges: Edges, arguments: FixedPoints, outputs: ValueTypes) -> Tensor:
    """Return what every edge puts out for every argument (*positions, n_edges, n_entries), computed in float32."""
    each_edge = (*edges.positions, edges.n_in * edges.n_out)
    shape = np.broadcast_shapes(arguments.width.shape, nothing(outputs).shape, each_edge)
    bits, wide = int(arguments.width.max()), native.size("d_hl") if native.config.get("n_hl") else 1
    n_entries = math.prod(shape) * 2**bits
    if bits > _MAX_BITS or n_entries > MAX_ENTRIES or n_entries * wide > _MAX_HIDDEN:
        raise native.refuse(f"has functions of {bits} bits for {math.prod(shape)} edges, which are not small tables")
    last = np.exp2(arguments.width) - 1
    entry = np.minimum(np.arange(2.0**bits)[:, *(None,) * last.ndim], last)  # entries first
    values = torch.as_tensor(np.broadcast_to(arguments.minimum + entry * arguments.step, (len(entry), *shape)).copy())
    made = function(native, edges)(values.float().reshape(*values.shape[:-1], edges.n_in, edges.n_out))
    return outputs(made.flatten(-2)).movedim(0, -1).contiguous()


def function(native: Native, edges: Edges) -> Callable[[Tensor], Tensor]:
    """Return the functions of all edges, of values (..., n_in, n_out), as HGQ2 computes them."""
    act = _FUNCTIONS.get(_name(native.config.get("subnn_activation")))
    if act is None:
        raise native.refuse(f"has edges with the activation {_name(native.config.get('subnn_activation'))[:40]}")
    *hidden, (kernel, bias) = layers_of(native, edges)
    normalise = _normalisation(native, edges)

    def run(values: Tensor) -> Tensor:
        values = values[..., None]
        for weight, shift in hidden:
            values = act(torch.einsum("...iod,...iodD->...ioD", values, weight) + shift)
        return normalise(torch.einsum("...iod,...iod->...io", values, kernel) + bias)

    return run


def _name(described: Any) -> str:
    return str(described.get("config") if isinstance(described, dict) else described)


def places_of(native: Native) -> list[tuple[str, str]]:
    """Return where the file keeps kernel and bias of every layer of the functions, the last one last."""
    n_hidden = native.config.get("n_hl")
    if not isinstance(n_hidden, int) or not 0 <= n_hidden <= 16:
        raise native.refuse(f"has n_hl = {str(n_hidden)[:40]}")
    groups = ["module/layers/einsum_dense" + (f"_{number}" if number else "") for number in range(n_hidden + 1)]
    return [(f"{group}/vars/0", f"{group}/vars/1") for group in groups]


def layers_of(native: Native, edges: Edges) -> list[tuple[Tensor, Tensor]]:
    """Return kernel and bias of every layer of the functions, zeros where there is none."""
    found, width, each_edge = [], 1, (*edges.shared, edges.n_in, edges.n_out)
    places = places_of(native)
    for kernel, bias in places:
        wide = () if (kernel, bias) == places[-1] else (native.size("d_hl"),)
        biased, shift = bool(native.config.get("use_bias", True)), (*each_edge, *wide)
        weight = _array(native, kernel, (*each_edge, width, *wide))
        found.append((weight, _array(native, bias, shift) if biased else torch.zeros(shift)))
        width = math.prod(wide)
    return found


def _array(native: Native, place: str, shape: Shape) -> Tensor:
    array: Floats | None = native.stored.get(place)
    if array is None or array.shape != shape:
        has = "none" if array is None else f"one of shape {array.shape}"
        raise native.refuse(f"needs an array of shape {shape} at {place} and has {has}")
    return torch.as_tensor(array).float()


def norm_names(native: Native) -> list[str]:
    """Return the names of the arrays of a layer's batch normalisation, in their order."""
    return [name for name in ("scale", "center") if native.config.get(f"bn_{name}", True)] + ["mean", "variance"]


def _normalisation(native: Native, edges: Edges) -> Callable[[Tensor], Tensor]:
    """Return the batch normalisation of what comes to an output, which HGQ2 divides by the root of the inputs."""
    if not native.config.get("batch_norm"):
        return lambda values: values
    names, epsilon, root = norm_names(native), native.number("bn_epsilon", 1e-3), math.sqrt(edges.n_in)
    if isinstance(native.config.get("positions"), tuple):  # of a QEinsumDenseT, along any axes
        found = {name: torch.as_tensor(native.stored[f"bn_module/vars/{n}"]).float() for n, name in enumerate(names)}
        scale = found.get("scale", torch.ones(1)) / torch.sqrt(found["variance"] + epsilon)
        shift = found.get("center", torch.zeros(1)) - found["mean"] * scale
        return lambda values: (values * scale + shift) / root
    arrays = {name: _array(native, f"bn_module/vars/{n}", (edges.n_out,)) for n, name in enumerate(names)}

    def normal(values: Tensor) -> Tensor:
        flat = values.reshape(-1, edges.n_out)
        given = {"weight": arrays.get("scale"), "bias": arrays.get("center"), "eps": epsilon}
        made = torch.nn.functional.batch_norm(flat, arrays["mean"], arrays["variance"], training=False, **given)  # type: ignore[arg-type]
        return made.reshape(values.shape) / root

    return normal
