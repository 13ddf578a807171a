"""Attention of HGQ2: QMultiHeadAttention, and QLinformerAttention, which mixes keys and values along the positions.

Those that end in T project by tables, a learned function for every edge.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hepprune.frontends.keras.hgq.tables import places_of
from hepprune.frontends.keras.hgq.values import ends, value_bits, value_quantiser
from hepprune.frontends.keras.layers.attention import ROLES, roles_of
from hepprune.frontends.keras.registry import LAYERS, Native, Part, Parts, after, inside, lowered, outer, reading
from hepprune.network import Einsum, Layer, Shape, Shared

logger = logging.getLogger(__name__)
# Of each projection: its place in the file, its equation, and the axes of its bias.
_PROJECTIONS = {
    **{role: (f"{role}_dense", "abc,cde->abde", "de") for role in ROLES},
    "output": ("output_dense", "abcd,cde->abe", "e"),
    "lin_key": ("_lin_k_proj", "abc,bd->adc", ""),
    "lin_value": ("_lin_v_proj", "abc,bd->adc", ""),
}
_TABLES = ("n_hl", "d_hl", "subnn_activation", "batch_norm", "bn_center", "bn_scale", "bn_epsilon")
_FUSED = {"none": (), "kv": ("key", "value"), "qkv": ROLES}


def _projection(native: Native, role: str, shape: Shape) -> Native:
    place, equation, bias = _PROJECTIONS[role]
    name = native.name if role == "output" else native.part(role)
    by_tables = native.kind.endswith("T") and (bias != "" or native.config.get("lin_kv_proj_mode") != "dense")
    kind = "QEinsumDenseT" if by_tables else "QEinsumDense"
    found = inside(native, place, name=name, kind=kind, arriving=(shape,))
    inner = _with_shared_input(native, found, role)
    confs = {f"{end}_conf": native.config.get(f"qkvo_{end}_conf") for end in ("iq", "kq", "bq", "oq", "toq")}
    for end in ("iq", "bq", "oq"):
        if not any(key.startswith(f"{end}/") for key in inner.stored):
            confs[f"{end}_conf"] = None
    if by_tables:
        biased = native.config.get("use_bias", True) and role != "key"
        confs |= {key: native.config.get(key) for key in _TABLES}
    else:
        biased = len([array for array in inner.weights if array.ndim]) > 1
    config = {"equation": equation, "bias_axes": bias or None if biased else None, "output_shape": None}
    made = replace(inner, config={**config, **confs})
    if len(_kernel(made)) != len(equation.split(",")[1].split("->")[0]):
        raise native.refuse(f"has no kernel of its {role}")
    return made


def _kernel(native: Native) -> Shape:
    """Return the shape of a projection's kernel, or of the first axes of its functions' last one."""
    if native.kind == "QEinsumDenseT":
        last = native.stored.get(places_of(native)[-1][0])
        return () if last is None else last.shape[:-1]
    return next((array.shape for array in native.weights if array.ndim), ())


def _with_shared_input(native: Native, found: Native, role: str) -> Native:
    """Return a projection with the input quantiser that fused ones share, which the file holds once."""
    fused = _FUSED.get(str(native.config.get("fuse", "none")))
    if fused is None:
        raise native.refuse(f"fuses {str(native.config['fuse'])[:40]}; known are {', '.join(_FUSED)}")
    if role not in fused or any(key.startswith("iq/") for key in found.stored):
        return found
    prefixes = [f"{_PROJECTIONS[other][0]}/iq/" for other in fused]
    shared = {key[key.index("iq/") :]: array for key, array in native.stored.items() if key.startswith(tuple(prefixes))}
    return replace(found, stored={**shared, **found.stored})


def _softmax(native: Native, shape: Shape) -> Native:
    config = native.config
    confs = {key: config.get(f"softmax_{key}") for key in ("exp_iq_conf", "exp_oq_conf", "inv_iq_conf", "inv_oq_conf")}
    scale = 1.0 / math.sqrt(float(native.size("key_dim")))
    plain = {"axes": [-1], "stable": config.get("stable_softmax", True), "input_scaler": scale}
    described = {**plain, **confs, "oq_conf": config.get("softmax_oq_conf"), "iq_conf": None}
    name = native.part("softmax")
    return inside(native, "_softmax", name=name, kind="QSoftmax", arriving=(shape,), config=described)


def _insides(native: Native) -> dict[str, Native]:
    """Return the projections and the softmax, in the order that they run."""
    shapes = {role: native.arriving[number] for role, number in roles_of(native, native.arriving, "query").items()}
    found: dict[str, Native] = {}
    if native.kind.startswith("QLinformer"):
        for role in ("key", "value"):
            if role == "key" or not native.config.get("share_kv_proj"):
                mixing = found[f"lin_{role}"] = _projection(native, f"lin_{role}", shapes[role])
            shapes[role] = (_kernel(mixing)[1], shapes[role][1])
    for role in ROLES:
        found[role] = _projection(native, role, shapes[role])
    heads, value_dim = _kernel(found["value"])[1:]
    found["softmax"] = _softmax(native, (heads, shapes["query"][0], shapes["key"][0]))
    found["output"] = _projection(native, "output", (shapes["query"][0], heads, value_dim))
    return found


def _check(native: Native, insides: Mapping[str, Native]) -> None:
    if not native.kind.endswith("T") and native.config.get("lin_kv_proj_mode", "dense") != "dense":
        raise native.refuse("mixes keys and values by tables, which a layer of this class does not")
    if any(key.startswith("iq/") for key in insides["softmax"].stored):
        logger.warning("layer '%s': its softmax' input quantiser is left out, as HGQ2 does since 0.1.9", native.path)


def attention(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the projections, the scores, their softmax, what it weighs, and the projection of that."""
    roles, insides, parts = roles_of(native, arriving, "query"), _insides(native), list[Part]()
    _check(native, insides)
    last: dict[str, int | str] = dict(roles)

    def run(role: str, lowered: Parts, source: int | str) -> None:
        parts.extend(reading(lowered, source))
        last[role] = lowered[-1].layer.name

    for role in (role for role in insides if role not in {"softmax", "output"}):
        inner, of = insides[role], role.removeprefix("lin_")
        mixed, before = lowered(inner), last[of]
        run(of, mixed, before)
        if role == "lin_key" and "lin_value" not in insides:  # one kernel for both
            if last["value"] == before:
                last["value"] = last["key"]
            else:
                run("value", _again(replace(inner, name=native.part("lin_value")), mixed), last["value"])
    scores = Einsum(native.part("scores"), "qhd,khd->hqk")
    parts.append(Part(scores, (last["query"], last["key"])))
    run("softmax", lowered(insides["softmax"]), scores.name)
    context = Einsum(native.part("context"), "hqk,khd->qhd")
    parts.append(Part(context, (last["softmax"], last["value"])))
    run("output", lowered(insides["output"]), context.name)
    return after(parts, *value_quantiser(native, ("attended", *ends(native)[1][1:])))


def _again(native: Native, first: Parts) -> Parts:
    """Return the parts of a projection that has the arrays of another one."""
    return [
        replace(part, layer=Shared(part.layer.name, one.layer.name)) if part.layer.state_dict() else part
        for part, one in zip(lowered(native), first, strict=True)
    ]


def fill_attention(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native attention with the arrays and quantisers that the network has now."""
    filled = {role: LAYERS[inner.kind].fill(inner, layers) for role, inner in _insides(native).items()}
    found = outer(native, filled.values(), **_sizes(native, filled))
    bits = value_bits(native, layers, ("attended", *ends(native)[1][1:]))
    return replace(found, stored={**found.stored, **bits})


def _sizes(native: Native, filled: Mapping[str, Native]) -> dict[str, Any]:
    """Return what the kernels' shapes say in the config; without one of its own, the output is as wide as the query."""
    query, value, output = (_kernel(filled[role]) for role in ("query", "value", "output"))
    as_query = native.config.get("output_shape") is None and output[-1] == query[0]
    mixed = {"lin_kv_proj_dim": [_kernel(filled["lin_key"])[1]]} if "lin_key" in filled else {}
    out = None if as_query else [output[-1]]
    return {"num_heads": query[1], "key_dim": query[2], "value_dim": value[2], "output_shape": out, **mixed}
