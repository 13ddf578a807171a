"""Every kind of layer gets an answer to every question: a rule that computes, or a refusal by name with what helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from hepprune.errors import NetworkError
from hepprune.firmware import layers as hls4ml
from hepprune.firmware import rtl
from hepprune.firmware.layers import DESCRIPTIONS
from hepprune.firmware.tracing import TRACES
from hepprune.fixed import FixedPoint
from hepprune.hardware import targets
from hepprune.hardware.cost import circuits, describing
from hepprune.hardware.cost.circuits import CIRCUITS
from hepprune.hardware.cost.describing import PRICED
from hepprune.network import Dense, Input, Layer, Network, Rules, Shared
from hepprune.network import layers as kinds
from hepprune.network.layers import LAYERS
from hepprune.network.precision import PRECISION, Precision, quantise
from hepprune.network.ranges import RANGES, accumulators
from hepprune.pruning import masks
from hepprune.pruning.masks import SILENCE, Cut
from hepprune.pruning.structure import coupling, surgery
from hepprune.pruning.structure.coupling import COUPLING
from hepprune.pruning.structure.removal import REMOVAL
from tests.network.drawn import typed_graphs

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- kinds -->", "<!-- end of kinds -->"
QUESTIONS: dict[str, Rules] = {
    "precision": PRECISION,
    "range": RANGES,
    "Verilog": TRACES,
    "hls4ml": DESCRIPTIONS,
    "price of Verilog": CIRCUITS,
    "price of hls4ml": PRICED,
    "coupling": COUPLING,
    "removal": REMOVAL,
    "neurons": SILENCE,
}
# What there is no rule for today. A kind that is new, or gains a rule, has to be sorted in here.
REFUSED = {
    "precision": set(),
    "range": set(),
    "Verilog": set(),
    "hls4ml": {"Lookup"},
    "price of Verilog": set(),
    "price of hls4ml": {"Lookup"},
    "coupling": set(),
    "removal": set(),
    "neurons": set(LAYERS) - {"Dense", "Conv", "Recurrent", "Shared"},
}


def blank(kind: type[Layer]) -> Layer:
    """Return a layer of a kind, with a name and nothing else."""
    layer = kind.__new__(kind)
    Layer.__init__(layer, "mine")
    return layer


@pytest.mark.parametrize("kind", sorted(set(LAYERS) - {Shared.__name__}))  # a shared layer is asked as what it runs
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_kind_is_answered_for_or_refused_with_what_helps(question: str, kind: str) -> None:
    rules, layer = QUESTIONS[question], blank(LAYERS[kind])
    assert (layer not in rules) == (kind in REFUSED[question])
    if layer in rules:
        assert callable(rules.find(layer))
    else:
        with pytest.raises(NetworkError, match=rf"^layer 'mine' \({kind}\) .+; .+"):
            rules.find(layer)


def matrix() -> str:
    """Return the table of docs/models.md: what there is for every kind of layer, and why something is not there."""
    asked = {name: blank(kind) for name, kind in sorted(LAYERS.items()) if kind is not Shared}
    lines = [f"| kind | {' | '.join(QUESTIONS)} |", "|" + "---|" * (len(QUESTIONS) + 1)]
    for name, layer in asked.items():
        lines.append(f"| `{name}` | {' | '.join('yes' if layer in rules else '-' for rules in QUESTIONS.values())} |")
    reasons: dict[tuple[str, str], list[str]] = {}
    for question, rules in QUESTIONS.items():
        for name, layer in asked.items():
            if layer not in rules:
                why = str(rules.refusal(layer)).partition(f"({name}) ")[2]
                reasons.setdefault((question, why), []).append(f"`{name}`")
    named = {key: ", ".join(names) if len(names) < 5 else "all others" for key, names in reasons.items()}
    return "\n".join([*lines, "", *(f"- {question}, {names}: {why}." for (question, why), names in named.items())])


def test_the_docs_have_the_table_of_what_there_is_for_every_kind() -> None:
    """`python -m tests.test_rules` prints it."""
    assert matrix() == PAGE.read_text(encoding="utf-8").partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) / 2


def cell(name: str) -> kinds.Recurrent:
    arrays = {"weight": weights(12, 4), "recurrent_weight": weights(12, 4)}
    arrays |= {"bias": weights(12), "recurrent_bias": weights(12)}
    return kinds.Recurrent(name, "gru", return_sequences=True, **arrays)


# One layer of each kind on values of shape (4, 4), or on two of them.
ONE_OF: dict[str, Callable[[], Layer]] = {
    "Dense": lambda: Dense("mine", weights(3, 4), weights(3)),
    "Conv": lambda: kinds.Conv("mine", weights(3, 2, 4), weights(3), padding=((1, 0),)),
    "Recurrent": lambda: cell("mine"),
    "ReLU": lambda: kinds.ReLU("mine"),
    "Activation": lambda: kinds.Activation("mine", "tanh"),
    "PReLU": lambda: kinds.PReLU("mine", weights(4)),
    "Lookup": lambda: kinds.Lookup("mine", torch.round(weights(4, 8) * 16) / 16, FixedPoint(3, 1)),
    "Softmax": lambda: kinds.Softmax("mine"),
    "Argmax": lambda: kinds.Argmax("mine"),
    "TopK": lambda: kinds.TopK("mine", 2),
    "BatchNorm": lambda: kinds.BatchNorm("mine", weights(4), weights(4)),
    "LayerNorm": lambda: kinds.LayerNorm("mine", torch.ones(4), torch.zeros(4)),
    "Pool": lambda: kinds.Pool("mine", "average", (2,)),
    "GlobalPool": lambda: kinds.GlobalPool("mine", "max"),
    "Reshape": lambda: kinds.Reshape("mine", (2, 8)),
    "Permute": lambda: kinds.Permute("mine", (1, 0)),
    "Pad": lambda: kinds.Pad("mine", ((1, 1),)),
    "Crop": lambda: kinds.Crop("mine", ((1, 1),)),
    "UpSample": lambda: kinds.UpSample("mine", (2,)),
    "Slice": lambda: kinds.Slice("mine", 1, 3),
    "Concatenate": lambda: kinds.Concatenate("mine"),
    "Merge": lambda: kinds.Merge("mine", "multiply"),
    "Einsum": lambda: kinds.Einsum("mine", "ij,kj->ik"),
    "Shared": lambda: Shared("mine", "first"),
}


def traced(network: Network) -> None:
    for reason in rtl.refusals(network).values():
        raise NetworkError(reason)


COMPUTES: dict[str, Callable[[Network], Any]] = {
    "range": accumulators,
    "Verilog": traced,
    "hls4ml": lambda network: hls4ml.described(network, io_type="io_parallel"),
    "price of Verilog": lambda network: circuits.estimate(network, targets.load("generic_vu13p")),
    "price of hls4ml": lambda network: describing.described(network, describing.Options()),
    "coupling": coupling.groups,
    "removal": lambda network: surgery.shrink(network, [Cut("first", "neuron", (1,))]),
    "neurons": lambda network: masks.apply(network, [Cut("mine", "neuron", (0,))]),
}
# Beside kinds without a rule: what shares weights is cut where they are.
MORE_REFUSED = {("neurons", "Shared")}


def among_others(kind: str) -> Network:
    """Return a network with types, a layer of the kind between two dense ones."""
    before = [Input("x", (4, 4)), Dense("first", weights(4, 4), weights(4)), ONE_OF[kind]()]
    edges: dict[str, Any] = {"first": "x", "mine": "first", "flat": "mine", "last": "flat"}
    if kind in {"Concatenate", "Merge", "Einsum"}:
        edges["mine"] = ("first", "x")
    flat = kinds.Reshape("flat", (-1,))
    n_flat = Network([*before, flat], {name: read for name, read in edges.items() if name != "last"}).widths["flat"]
    network = Network([*before, flat, Dense("last", weights(2, n_flat), weights(2))], edges)
    jets = np.random.default_rng(0).normal(size=(50, 4, 4))
    return quantise(network, jets, Precision(inputs=FixedPoint(8, 3, True, "RND", "SAT")))


def test_there_is_a_network_of_every_kind() -> None:
    assert set(ONE_OF) == set(LAYERS) - {"Input"}


@pytest.mark.parametrize("kind", sorted(ONE_OF))
@pytest.mark.parametrize("question", COMPUTES)
def test_every_kind_computes_or_is_refused_by_name(question: str, kind: str) -> None:
    network, ask = among_others(kind), COMPUTES[question]
    if kind in REFUSED[question] or (question, kind) in MORE_REFUSED:
        with pytest.raises(NetworkError, match=r"^layer 'mine' .+; .+"):
            ask(network)
    else:
        ask(network)


@pytest.mark.parametrize("kind", sorted(set(ONE_OF) - {"Argmax"}))
def test_what_comes_before_every_kind_has_a_gradient(kind: str) -> None:
    """Weights without one are worth nothing to a search, which then takes all of them."""
    network = among_others(kind)
    jets = torch.randn(50, 4, 4, generator=torch.Generator().manual_seed(1))
    network(jets).square().sum().backward()
    assert network["first"].weight.grad[1:3].ne(0).all()  # all that a Slice takes


@pytest.mark.slow
@settings(max_examples=30)
@given(typed_graphs(most_bits=6))
def test_the_types_of_a_drawn_graph_are_all_that_verilog_needs(network: Network) -> None:
    refused = {type(network.runs(network[name])).__name__ for name in rtl.refusals(network)}
    assert refused <= REFUSED["Verilog"]


@pytest.mark.slow
@settings(max_examples=30)
@given(typed_graphs(most_bits=6))
def test_the_types_of_a_drawn_graph_are_all_that_hls4ml_needs_to_be_exact(network: Network) -> None:
    assert hls4ml.refusals(network, io_type="io_parallel") == {}
    nodes = hls4ml.described(network, io_type="io_parallel")
    assert [node.name for node in nodes if not node.exact] == []


if __name__ == "__main__":
    print(matrix())  # noqa: T201
