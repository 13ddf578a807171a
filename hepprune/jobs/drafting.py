"""A recipe to begin with, from what a model and a file of jets hold, with a word on every choice."""

import fnmatch
import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hepprune import frontends
from hepprune import recipe as recipes
from hepprune.data import proposals, sources
from hepprune.data.expressions import grammar
from hepprune.data.sources import Survey
from hepprune.errors import DataError, RecipeError, check_known
from hepprune.files import replacing
from hepprune.network import Network, precision

# Answers a question with one of what is offered, or refuses to.
Ask = Callable[[str, Sequence[str]], str]
_SHARE, _LOST = 0.25, 0.01  # of the baseline's LUT, and of its accuracy
_LIMITS = "hard limits; those of the target hold too. lut, ff, dsp, bram18, latency_ns, interval_cycles"
_MOST = 24  # choices that a sentence names
_AXES = 2  # constituents and their features
# Of jets without a model of their own: by what a network of it reads.
_ARCHITECTURES = {"n_constituents": {"kind": "deepsets"}, "image": {"kind": "convolutional"}}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A recipe as text, the file that it was written to, and what of it only its owner can know."""

    path: Path
    text: str
    open: tuple[str, ...]


def refuse(question: str, choices: Sequence[str]) -> str:
    """Answer no question: what cannot be found out has to be said on the command line.

    Raises:
        RecipeError: always, with the question and the choices.
    """
    raise RecipeError(f"{question}: {', '.join(choices[:_MOST])}{', ...' if len(choices) > _MOST else ''}")


def draft(
    model: str | None,
    data: str,
    path: Path,
    *,
    target: str = "generic_vu13p",
    strategy: str = "distributed_arithmetic",
    features: Sequence[str] = (),
    label: str | None = None,
    ask: Ask = refuse,
) -> Draft:
    """Write a commented recipe; it asks only for what neither the model nor the file of jets tells.

    Raises:
        RecipeError: something is left open, the file is there already, or the recipe cannot be followed.
        NetworkError: the model cannot be read.
        DataError: the file of jets cannot be read.
    """
    if path.exists():
        raise RecipeError(f"'{path}' is there already; name another file, or move it away")
    network = None if model is None else frontends.read(model)
    found = max(sources.surveys(data), key=lambda each: each.n_rows, default=None)
    if found is None:
        raise DataError(f"'{data}' holds no tree of jets")
    section = _section(found, network, features, label, ask)
    comment = f"{found.n_rows:,} rows; look over features, their order and the names of classes: hepprune data show"
    name = "".join(c if c.isalnum() else "_" for c in Path((model or data).partition(":")[0]).stem)
    parts = [
        _part({"name": name if name[:1].isalpha() else f"tagger_{name}", "seed": 1}),
        _part({"target": _beside(target, path)}, "the clock, the part and the limits of a trigger: hepprune targets"),
        _part({"strategy": strategy}, "or latency, resource, resource_unrolled"),
        _part({"data": section | {"file": _beside(section["file"], path)}}, comment),
        _model(network, None if model is None else _beside(model, path), section),
        _part({"budget": {"lut_of_baseline": _SHARE, "max_accuracy_loss": _LOST}}, _LIMITS),
    ]
    text = "# Written by hepprune init: look it over, then `hepprune run` it.\n" + "\n".join(parts)
    with replacing(path) as temporary:  # a recipe that can be followed, or nothing
        temporary.write_text(text, encoding="utf-8")
        recipes.load(temporary)
    unnamed = ["the names of the classes"] if section.get("classes", [])[:1] == ["class_0"] else []
    return Draft(path=path, text=text, open=(*unnamed, "which columns are features, and their order"))


def _section(
    found: Survey, network: Network | None, features: Sequence[str], label: str | None, ask: Ask
) -> dict[str, Any]:
    """Return the data section that a file proposes, what is known better in its place."""
    section = proposals.proposed(found)
    if network is not None and len(network.inputs) != 1:
        raise RecipeError(f"the model has {len(network.inputs)} inputs; write data.inputs with the features of each")
    shape = None if network is None else network.input.features_shape
    if "image" not in section or features or (shape is not None and shape[:-1] != tuple(section["image"]["bins"])):
        section = _with_features(section, shape, features, found, ask)
    if "event" in {column.name for column in found.columns}:
        section["event"] = "event"
    return section | _labelled(found, section, network, label, ask)


def _with_features(
    proposed: dict[str, Any], shape: tuple[int, ...] | None, features: Sequence[str], found: Survey, ask: Ask
) -> dict[str, Any]:
    """Return the section with the features of a model of this shape, asking where the file offers others."""
    if shape is not None and len(shape) > _AXES:
        raise RecipeError(f"the model takes values of shape {shape}; write data.image for it")
    section = {key: value for key, value in proposed.items() if key != "image"}
    names = [column.name for column in found.columns if column.low is not None]
    offered = list(section.get("features", ()))
    plain = [text for text in offered if grammar.expanded(text) == (text,)]  # none of objects of events
    own = _matching(features, names) or (plain if shape is not None and len(plain) == shape[-1] else offered)
    filled = shape is not None and len(shape) > 1 and _size(own) + 1 == shape[-1]  # told from padding by a feature
    if shape is not None and _size(own) + filled != shape[-1]:
        question = f"the model takes {shape[-1]} features, '{found.file}' offers {_size(own)}; name them in its order"
        own = _matching([text.strip() for text in ask(question, names).split(",")], names)
    section["features"] = own
    if shape is not None and len(shape) > 1:
        section.pop("explode", None)
        section |= {"n_constituents": shape[0], "isfilled": filled}
    return section


def _size(texts: Sequence[str]) -> int:
    return sum(len(grammar.expanded(text)) for text in texts)


def _matching(texts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return features as they were named, and for a pattern such as `j_*` the columns that it matches."""
    each = [fnmatch.filter(names, text) if "*" in text else [text] for text in texts]
    for text, matched in zip(texts, each, strict=True):
        if not matched:
            raise RecipeError(f"no column matches '{text}'; there are {', '.join(names[:_MOST])}")
        for name in grammar.columns(matched, names):
            check_known("column", name, names, RecipeError)
    return [name for matched in each for name in matched]


def _labelled(
    found: Survey, section: dict[str, Any], network: Network | None, label: str | None, ask: Ask
) -> dict[str, Any]:
    """Return the label and the names of its classes, as many as the model tells apart."""
    n_out = None if network is None else network.shapes[network.raw_outputs[0]][-1]
    if label is None and "label" in section and n_out in {None, len(section["classes"])}:
        return {"label": section["label"], "classes": section["classes"]}
    flat = {column.name: column for column in found.columns if column.low == 0 and column.longest is None}
    chosen = label or ask(f"which column of '{found.file}' says the class of a jet, from 0 up", list(flat))
    if chosen not in flat:
        raise RecipeError(f"column '{chosen}' of '{found.file}' counts no classes from 0 up")
    seen = int(flat[chosen].high or 0) + 1
    if n_out is not None and seen > n_out:
        raise RecipeError(f"'{chosen}' counts {seen} classes, and the model tells {n_out} apart")
    kept = {"features": [name for name in section["features"] if name != chosen]} if "features" in section else {}
    return {"label": chosen, "classes": [f"class_{index}" for index in range(n_out or max(seen, 2))]} | kept


def _part(value: dict[str, Any], comment: str = "") -> str:
    """Return keys with their values, lists in one line, a section below its key."""
    lines = [f"# {comment}\n"] if comment else []
    for key, each in value.items():
        if isinstance(each, dict):
            text = yaml.safe_dump(each, sort_keys=False, default_flow_style=None, width=100)
            lines.append(f"{key}: {text}" if text.startswith("{") else f"{key}:\n{textwrap.indent(text, '  ')}")
        else:
            text = yaml.safe_dump(each, default_flow_style=True, width=100)
            lines.append(f"{key}: {text.removesuffix('...' + chr(10))}")
    return "".join(lines)


def _model(network: Network | None, file: str | None, section: dict[str, Any]) -> str:
    if network is None:
        drawn = [architecture for key, architecture in _ARCHITECTURES.items() if key in section]
        own = {"architecture": drawn[0]} if drawn else {"hidden": [64, 32, 32]}
        return _part({"model": own}, "trained in float, then in 6 bits: model.bits and model.training say how")
    comment = "its own types"
    if not precision.is_quantised(network):
        typed = any(kernel.type for kernel in network.kernels)
        given = "own types, what lacks one is given one" if typed else "float: quantised to 6 bits"
        comment = f"{given} and fine-tuned, as model.bits says"
    return _part({"model": {"file": file}}, f"{', '.join(type(layer).__name__ for layer in network)}; {comment}")


def _beside(place: str, path: Path) -> str:
    """Return a path as the recipe has it, relative to its folder; anything else as it is."""
    file, colon, rest = place.partition(":")
    if not Path(file).exists():
        return place
    return f"{os.path.relpath(file, path.parent)}{colon}{rest}"
