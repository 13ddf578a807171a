"""Multi-head attention of Keras as dense layers, contractions and a softmax (Vaswani et al., arXiv:1706.03762)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hepprune.frontends.keras.registry import Native, Part, Parts, after, register, single, then
from hepprune.network import BatchNorm, Dense, Einsum, Layer, Reshape, Shape, Softmax

ROLES = ("query", "key", "value")
_GROUPS = ("query_dense", "key_dense", "value_dense", "output_dense")


def roles_of(native: Native, arriving: tuple[Shape, ...], *needed: str) -> dict[str, int]:
    """Return which arriving value is the query, the value and the key; a value that is left out is the query."""
    order = iter(("query", "value", "key"))
    roles = {name or next(order): number for number, name in enumerate(native.arguments)}
    if not set(needed) <= roles.keys() <= {"query", "value", "key"}:
        raise native.refuse(f"is called with {', '.join(roles)}, which cannot be taken over")
    if any(len(arriving[number]) != 2 for number in roles.values()):
        raise native.refuse(f"attends over the shapes {arriving}; only (positions, channels) can be taken over")
    if native.config.get("attention_axes") not in (None, [1], 1):
        raise native.refuse("attends along other axes than the positions")
    roles.setdefault("value", roles["query"])
    return {"key": roles["value"], **roles}


def _arrays(native: Native, shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
    """Return the kernels (n_out, n_in) and biases of the query, the key, the value and the output."""
    heads, key_dim = native.size("num_heads"), native.size("key_dim")
    value_dim = native.size("value_dim") if native.config.get("value_dim") else key_dim
    out = native.config.get("output_shape") or [shapes["query"][-1]]
    out = [out] if isinstance(out, int) else list(out)
    wide = {"query": key_dim, "key": key_dim, "value": value_dim}
    wanted: dict[str, tuple[int, ...]] = {}
    for role, width in wide.items():
        wanted |= {role: (shapes[role][-1], heads, width), f"{role}_bias": (heads, width)}
    wanted |= {"output": (heads, value_dim, *out), "output_bias": tuple(out)}
    if not native.config.get("use_bias", True):
        wanted = {role: shape for role, shape in wanted.items() if not role.endswith("_bias")}
    if len(out) != 1:
        raise native.refuse(f"puts out the shape {out}; only channels can be taken over")
    found = dict(zip(wanted, native.expect(*wanted.values()), strict=True))
    arrays = {role: single(kernel.flatten(1).T) for role, kernel in found.items() if role in wide}
    arrays["output"] = single(found["output"].flatten(0, 1).T)
    zeros = {f"{role}_bias": torch.zeros(len(kernel)) for role, kernel in arrays.items()}
    biases = {role: single(bias.flatten()) for role, bias in found.items() if role.endswith("_bias")}
    return arrays | zeros | biases


def _fill(native: Native, layers: Mapping[str, Layer]) -> Native:
    weights: list[Tensor] = []
    sizes: dict[str, Any] = {}
    biased = bool(native.config.get("use_bias", True))
    for role in ROLES:
        state = layers[native.part(role)].state_dict()
        positions, heads, width = layers[native.part(f"{role}_heads")].settings()["target"]
        kernel = state["weight"].T.reshape(-1, heads, width)
        weights += [kernel, state["bias"].reshape(heads, width)] if biased else [kernel]
        sizes |= {"num_heads": heads, "value_dim" if role == "value" else "key_dim": width}
        if f"{role}_shape" in native.config:
            sizes[f"{role}_shape"] = [None, positions, kernel.shape[0]]
        if not biased and state["bias"].any():
            raise native.refuse("has no bias, and the network's has")
    state = layers[native.name].state_dict()
    kernel = state["weight"].T.reshape(sizes["num_heads"], sizes["value_dim"], -1)
    # Without a shape of its own, the output is as wide as the query.
    as_query = native.config.get("output_shape") is None and kernel.shape[-1] == weights[0].shape[0]
    out = None if as_query else [kernel.shape[-1]]
    return native.filled([*weights, kernel, *([state["bias"]] if biased else [])], output_shape=out, **sizes)


@register("MultiHeadAttention", fill=_fill, groups=_GROUPS)
def _attention(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    native.refuse_set("use_gate", "sliding_window")
    roles = roles_of(native, arriving, "query", "value")
    shapes = {role: arriving[number] for role, number in roles.items()}
    arrays, heads = _arrays(native, shapes), native.size("num_heads")
    projected = {
        role: [Part(Dense(native.part(role), arrays[role], arrays[f"{role}_bias"]), (roles[role],))] for role in ROLES
    }
    split = {role: (shapes[role][0], heads, len(arrays[role]) // heads) for role in ROLES}
    softmax, output = Softmax(native.part("softmax")), Dense(native.name, arrays["output"], arrays["output_bias"])
    return attended(native, projected, split, lambda _: [Part(softmax)], lambda _: [Part(output)])


def attended(
    native: Native,
    projected: Mapping[str, Parts],
    split: Mapping[str, Shape],
    softmax: Callable[[Shape], Parts],
    output: Callable[[Shape], Parts],
) -> Parts:
    """Return the projections, their heads' scores, the softmax of these, what it weighs, and the projection of that.

    `split` are the positions, heads and channels of a head of each projection.
    """
    parts: Parts = []
    for role, shape in split.items():
        parts += after(projected[role], Reshape(native.part(f"{role}_heads"), shape))
    query, key, value = (native.part(f"{role}_heads") for role in ROLES)
    (n_query, heads, width), (n_key, _, _), (_, _, value_dim) = (split[role] for role in ROLES)
    scores = Einsum(native.part("scores"), "qhd,khd->hqk")
    scaled = BatchNorm(native.part("scale"), torch.full((1,), width**-0.5), torch.zeros(1), fixed=True)
    parts = after([*parts, Part(scores, (query, key))], scaled)
    parts = then(parts, softmax((heads, n_query, n_key)))
    context = Einsum(native.part("context"), "hqk,khd->qhd")
    joined = Reshape(native.part("joined"), (n_query, heads * value_dim))
    parts = after([*parts, Part(context, (parts[-1].layer.name, value))], joined)
    return then(parts, output((n_query, heads * value_dim)))
