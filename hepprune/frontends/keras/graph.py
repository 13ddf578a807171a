"""The graph of a Keras model, its nested models flattened, as a Network."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hepprune.errors import NetworkError, unknown
from hepprune.fixed.quantisers import check_shape
from hepprune.frontends.inputs import type_inputs
from hepprune.frontends.keras.calls import LayerCall, Reference, calls, references
from hepprune.frontends.keras.files import MODELS, KerasModel, entries, leaves, name_of
from hepprune.frontends.keras.registry import LAYERS, Native, Part
from hepprune.frontends.names import identifiers
from hepprune.network import Input, Layer, Network, Shape, Shared

_PACKAGE = re.compile(r"^(hgq|HGQ|PQuant|PQuantML|qkeras)>")  # before the classes of other packages in a `.h5`


@dataclass(frozen=True, kw_only=True)
class LoweredModel:
    """A Network, and for each native layer by path what it was and which of the Network's layers came from it.

    `arriving[path]` holds the shapes that a layer or nested model is first called on ("" is the model itself),
    `values[path, call, output]` the shape of each value that its calls put out.
    """

    network: Network
    natives: Mapping[str, Native]
    parts: Mapping[str, tuple[str, ...]]
    arriving: Mapping[str, tuple[Shape, ...]]
    values: Mapping[tuple[str, int, int], Shape]


def lower(model: KerasModel) -> LoweredModel:
    """Return the Network of a model, in float.

    Raises:
        NetworkError: a layer cannot be taken over, its weights do not fit its config, or the graph is malformed.
    """
    try:
        return _Flat(model=model).lowered()
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as problem:
        raise NetworkError(f"'{model.source}' is a malformed model of Keras: {problem!r}") from problem
    except NetworkError as problem:
        raise NetworkError(f"'{model.source}' cannot be taken over: {problem}") from problem


@dataclass(kw_only=True)
class _Flat:
    """The graph under construction."""

    model: KerasModel
    layers: dict[str, Layer] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    natives: dict[str, Native] = field(default_factory=dict)
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    arriving: dict[str, tuple[Shape, ...]] = field(default_factory=dict)
    values: dict[tuple[str, int, int], Shape] = field(default_factory=dict)

    def lowered(self) -> LoweredModel:
        """Build the layers and the Network."""
        paths = [path for path, _ in leaves(self.model.config["config"])]
        (twice, times), *_ = Counter(paths).most_common(1) or [("", 0)]
        if times > 1:
            raise NetworkError(f"two layers share the name '{twice}'")
        self.names = identifiers(paths)
        self.taken = frozenset(self.names.values())
        outputs = self._run(self.model.config, "", self._inputs())
        type_inputs(self.layers, self.sources, outputs)
        network = Network(self.layers.values(), self.sources, outputs)
        return LoweredModel(
            network=network, natives=self.natives, parts=self.parts, arriving=self.arriving, values=self.values
        )

    def _inputs(self) -> list[str]:
        config = self.model.config["config"]
        if self.model.config["class_name"] == "Sequential":
            first = entries(config)[0]
            if first.get("class_name") != "InputLayer":
                built = config.get("build_input_shape") if isinstance(config, dict) else None
                built = built or (self.model.config.get("build_config") or {}).get("input_shape")
                return [self._input(f"{name_of(first)}_input", _batch_shape(first) or built)]
            named = [first]
        else:
            by_name = {name_of(entry): entry for entry in entries(config)}
            named = [by_name[reference.layer] for reference in references(config["input_layers"])]
        return [self._input(self.names[name_of(entry)], _batch_shape(entry), entry) for entry in named]

    def _input(self, name: str, shape: Any, entry: Mapping[str, Any] | None = None) -> str:
        if not isinstance(shape, list | tuple) or not all(isinstance(size, int) for size in shape[1:]):
            raise NetworkError(f"input '{name}' has the shape {str(shape)[:60]}, which is not fixed")
        self._add(Input(name, tuple(shape[1:])), ())
        if entry is not None:
            path = name_of(entry)
            self.natives[path] = Native(name=name, path=path, kind="InputLayer", config=entry["config"])
            self.parts[path] = (name,)
        return name

    def _add(self, layer: Layer, sources: tuple[str, ...]) -> None:
        if layer.name in self.shapes:
            raise NetworkError(f"two layers share the name '{layer.name}'")
        runs = self.layers[layer.of] if isinstance(layer, Shared) else layer
        self.shapes[layer.name] = shape = runs.shape(*(self.shapes[source] for source in sources))
        check_shape(layer.name, layer.result, shape)
        self.layers[layer.name] = layer
        if sources:
            self.sources[layer.name] = sources

    def _run(self, model: Mapping[str, Any], prefix: str, arriving: list[str]) -> list[str]:
        self._arrive(prefix.removesuffix("/"), arriving)
        if model["class_name"] == "Sequential":
            for entry in entries(model["config"]):
                if entry.get("class_name") == "InputLayer":
                    self._arrive(prefix + name_of(entry), arriving[:1])
                else:
                    arriving = self._call(entry, prefix, LayerCall(arriving=tuple(arriving)))
            return arriving
        return self._functional(model["config"], prefix, arriving)

    def _functional(self, config: Mapping[str, Any], prefix: str, arriving: list[str]) -> list[str]:
        inputs = references(config["input_layers"])
        if len(inputs) != len(arriving):
            raise NetworkError(f"the model '{prefix}' has {len(inputs)} inputs and is called on {len(arriving)} values")
        values = {(ref.layer, ref.call): [value] for ref, value in zip(inputs, arriving, strict=True)}
        for (name, _), value in values.items():
            self._arrive(prefix + name, value)
        nodes = {(name_of(e), number): (e, node) for e, number, node in _nodes(config, self.model.keras)}
        before = {key: [(ref.layer, ref.call) for ref in node.references] for key, (_, node) in nodes.items()}
        try:
            order = list(TopologicalSorter(before).static_order())
        except CycleError as problem:
            raise NetworkError(f"its graph runs in a circle through '{problem.args[1][0][0]}'") from problem
        for key in order:
            if key in values:
                continue
            if key not in nodes:
                raise NetworkError("a layer reads " + unknown("layer", key[0], {name for name, _ in nodes}))
            entry, node = nodes[key]
            read = tuple(_value(values, ref) for ref in node.references)
            values[key] = self._call(entry, prefix, replace(node, arriving=read))
        for (name, call), found in values.items():
            self.values |= {(prefix + name, call, output): self.shapes[value] for output, value in enumerate(found)}
        return [_value(values, ref) for ref in references(config["output_layers"])]

    def _call(self, entry: Mapping[str, Any], prefix: str, call: LayerCall) -> list[str]:
        path, kind = prefix + name_of(entry), kind_of(entry)
        if kind in MODELS:
            return self._run(entry, path + "/", list(call.arriving))
        self._arrive(path, call.arriving)
        native = self._native(entry, path, call)
        if kind not in LAYERS:
            raise native.refuse("is of a class that is not known here, so it cannot be taken over")
        parts = LAYERS[kind].lower(native, native.arriving)
        if self.times[path] > 1:
            parts = self._again(native, parts)
        else:
            self.natives[path], self.parts[path] = native, tuple(part.layer.name for part in parts)
        for part in parts:
            self._add(part.layer, tuple(s if isinstance(s, str) else call.arriving[s] for s in part.sources))
        found = [part.layer.name for part in parts] or [call.arriving[0]]
        return found if LAYERS[kind].several else found[-1:]

    def _arrive(self, path: str, values: Iterable[str]) -> None:
        self.arriving.setdefault(path, tuple(self.shapes[value] for value in values))

    def _native(self, entry: Mapping[str, Any], path: str, call: LayerCall) -> Native:
        stored = self.model.layers.get(path)
        native = Native(
            name=self.names[path],
            path=path,
            kind=kind_of(entry),
            config=entry.get("config", {}),
            weights=stored.weights if stored else (),
            stored=stored.arrays if stored else {},
            keras=self.model.keras,
            taken=self.taken,
            arguments=call.arguments,
            call=call.settings,
            arriving=tuple(self.shapes[value] for value in call.arriving),
        )
        if native.kind not in LAYERS or not LAYERS[native.kind].is_operation:
            call.check(native)
        self.times[path] += 1
        return native if self.times[path] == 1 else replace(native, name=native.part(str(self.times[path])))

    def _again(self, native: Native, parts: list[Part]) -> list[Part]:
        """Return the parts of a layer's later call, which share the weights of its first."""
        shared = []
        for part, name in zip(parts, self.parts[native.path], strict=True):
            first, second = self.layers[name], part.layer
            if not second.state_dict():
                shared.append(part)
                continue
            if first.settings() | {"name": ""} != second.settings() | {"name": ""}:
                raise native.refuse("is called on values of different shapes, so that its calls cannot share weights")
            shared.append(Part(Shared(second.name, name), part.sources))
        return shared


def kind_of(entry: Mapping[str, Any]) -> str:
    """Return the class of a layer, "ops." before that of a Keras 3 operation, the name of a function of TensorFlow."""
    kind, config = _PACKAGE.sub("", str(entry.get("class_name"))), entry.get("config")
    if str(entry.get("module")).startswith("keras.src.ops."):
        return f"ops.{kind}"
    if kind in {"TFOpLambda", "SlicingOpLambda"} and isinstance(config, dict):
        return f"tf.{str(config.get('function'))[:60]}"
    return kind


def _nodes(config: Mapping[str, Any], keras: int) -> Iterator[tuple[dict[str, Any], int, LayerCall]]:
    """Yield (layer, number of the call, call) for every call in a functional model."""
    for entry in entries(config):
        inner = entry.get("config")
        # A model of Keras 2 that was built on inputs counts that as its call 0, which the file leaves out.
        built = keras < 3 and entry.get("class_name") in MODELS and entries(inner)[0].get("class_name") == "InputLayer"
        for number, call in enumerate(calls(entry.get("inbound_nodes", [])), start=int(built)):
            yield entry, number, call


def _value(values: Mapping[tuple[str, int], Sequence[str]], ref: Reference) -> str:
    found = values[ref.layer, ref.call]
    if ref.output >= len(found):
        raise NetworkError(f"output {ref.output} of layer '{ref.layer}' is read, which cannot be taken over")
    return found[ref.output]


def _batch_shape(entry: Mapping[str, Any]) -> Any:
    config = entry["config"]
    return config.get("batch_shape") or config.get("batch_input_shape")
