from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.firmware import hls, modelgraph, names
from hepprune.firmware.layers import described, distinct
from hepprune.firmware.names import Names
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Dense, Input, Layer, Merge, Network, Recurrent, TopK
from hepprune.network.layers import Concatenate
from hepprune.pruning import masks
from hepprune.pruning.masks import Cuts
from hepprune.pruning.structure import coupling, surgery
from tests.networks import SEEDS
from tests.pruning import cells, graphs
from tests.reference import REFERENCE


def jets(network: Network, *, seed: int, dtype: torch.dtype) -> torch.Tensor:
    shape = (16, *network.input.features_shape)
    return torch.tensor(np.random.default_rng(seed).normal(size=shape) * 2, dtype=dtype)


def planned(plan: Cuts) -> dict[str, int]:
    return {cut.layer: len(cut.units) for cut in plan if cut.granularity == "neuron"}


def check_gone(network: Network, shrunk: Network, plan: Cuts) -> None:
    for name, count in planned(plan).items():
        assert shrunk[name].n_out <= max(1, network[name].n_out - count), name


@settings(max_examples=60)
@given(graphs.graphs(fixed=True), SEEDS)
def test_shrunk_is_masked_bit_for_bit_in_fixed_point(network: Network, seed: int) -> None:
    plan = graphs.drawn_plan(network, seed=seed)
    shrunk, masked = surgery.shrink(network, plan), masks.apply(network, plan)
    x = jets(network, seed=seed, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(shrunk.double()(x), masked.double()(x))
    check_gone(network, shrunk, plan)


@settings(max_examples=40)
@given(graphs.graphs(fixed=False), SEEDS)
def test_shrunk_is_masked_in_float(network: Network, seed: int) -> None:
    plan = graphs.drawn_plan(network, seed=seed)
    shrunk, masked = surgery.shrink(network, plan), masks.apply(network, plan)
    x = jets(network, seed=seed, dtype=torch.float32)
    with torch.no_grad():
        expected = masked(x)
        assert torch.allclose(shrunk(x), expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))
    check_gone(network, shrunk, plan)


def built(*stages: str) -> Network:
    return graphs.build(list(stages), seed=1, fixed=False, flat=True)


def test_a_group_says_what_moves_together_before_anything_is_cut() -> None:
    text = "\n".join(map(str, coupling.groups(built("residual"))))
    assert text.splitlines() == [
        "dense_1 + dense_5: 5 units",
        "  dense_1 outputs 0-4",
        "  dense_3 inputs 0-4",
        "  dense_5 outputs 0-4",
        "  dense_8 inputs 0-24, 5 for each unit",
        "dense_3: 5 units",
        "  dense_3 outputs 0-4",
        "  dense_5 inputs 0-4",
        "dense_8: 4 units",
        "  dense_8 outputs 0-3",
        "  dense_10 inputs 0-3",
        "dense_10: 3 units, which stay: it is an output of the network",
        "  dense_10 outputs 0-2",
    ]


def test_a_head_is_its_query_key_value_and_output_together() -> None:
    heads = coupling.groups(built("attention"))[0]
    assert heads.heads
    assert [(m.layer, m.place, m.indices[1]) for m in heads.members] == [
        ("dense_1", "made", (2, 3)),
        ("dense_3", "made", (2, 3)),
        ("dense_5", "made", (2, 3)),
        ("dense_11", "read", (2, 3)),
    ]
    query_and_key = coupling.groups(built("one_head"))[0]  # without an axis of heads, single channels of both may leave
    assert [m.layer for m in query_and_key.of("made")] == ["dense_1", "dense_2"]
    assert not query_and_key.heads


@pytest.mark.parametrize(
    ("stages", "layer", "members"),
    [
        (("split",), "dense_1", {"dense_1 made", "dense_4 read"}),
        (("joined",), "dense_2", {"dense_2 made", "dense_5 read"}),
        (
            ("dense", "batch_norm", "prelu"),
            "dense_1",
            {"dense_1 made", "norm_2 carried", "prelu_3 carried", "dense_5 read"},
        ),
        (("dense", "depthwise"), "dense_1", {"dense_1 made", "conv_2 carried", "dense_4 read"}),
        (("shared",), "dense_1", {"dense_1 made", "dense_2 made", "dense_2 read", "dense_3 read"}),
        (("recurrent",), "cell_1", {"cell_1 made", "cell_1 states", "dense_3 read"}),
    ],
)
def test_what_hands_a_channel_on_moves_with_it(stages: tuple[str, ...], layer: str, members: set[str]) -> None:
    group = next(group for group in coupling.groups(built(*stages)) if group.members[0].layer == layer)
    assert {f"{member.layer} {member.place}" for member in group.members} == members
    assert not group.kept


def test_what_cannot_leave_says_why() -> None:
    kept = {group.name: group.kept for group in coupling.groups(built("dense", "layer_norm", "dense"))}
    assert kept["dense_1"] == (
        "layer norm 'layernorm_2' takes mean and variance over it, and a channel that leaves would change both"
    )
    network = frontends.read(REFERENCE / "models/model_QInteractionNetwork_NodeEdgeProj_Conv1D_nconst_8_nbits_8.h5")
    found = {group.name: group for group in coupling.groups(network)}
    fixed = {layer.name for layer in network if layer.fixed}
    assert not fixed.intersection(name for group in found.values() for name in group.name.split(" + "))
    assert found["conv1D_e3"].members[1] == coupling.Member("conv1D_n1", "read", ((3,), (4,), (5,), (6,), (7,), (8,)))
    assert [len(g) for g in found.values() if not g.kept] == [12, 6, 36, 18, 6, 170]


def test_no_layer_is_left_without_a_neuron() -> None:
    network = built("residual")
    group = coupling.groups(network)[0]
    with pytest.raises(NetworkError, match="'dense_1' would be left with no neuron"):
        surgery.shrink(network, coupling.cuts(group, range(len(group))))


def exported(network: Network, folder: Path) -> Any:
    """Return hls4ml's graph of a network."""
    for layer in network:
        if hasattr(layer, "strategy"):
            layer.strategy = "latency"
    nodes, outputs = distinct(described(network, io_type="io_parallel"), network.outputs)
    table = Names({"it": "it"}, names.safe(node.name for node in nodes))
    return modelgraph.build(nodes, outputs, table, folder, {"part": "xcvu13p", "io_type": "io_parallel"})


@pytest.mark.parametrize("stage", graphs.STAGES)
@settings(max_examples=5)
@given(st.lists(st.sampled_from(sorted(set(graphs.STAGES) - {"recurrent"})), max_size=1), SEEDS)
def test_a_shrunk_network_exports(
    tmp_path_factory: pytest.TempPathFactory, stage: str, before: list[str], seed: int
) -> None:
    network = graphs.build([*before, stage], seed=seed, fixed=True, flat=True)
    cells = [layer for layer in network if isinstance(layer, Recurrent)]
    assume(all(cell.cell != "simple" for cell in cells))  # refused, with two more: see below
    for cell in cells:
        cell.state_type, cell.reset_after = None, True
    shrunk = surgery.shrink(network, graphs.drawn_plan(network, seed=seed))
    graph = exported(shrunk, tmp_path_factory.mktemp("hls"))
    for kernel in shrunk.kernels:
        name, _, kind = kernel.name.partition(".")
        written = graph.graph[f"{name}_cell" if kind else name].weights
        found = written[kind or ("depthwise" if "depthwise" in written else "weight")].data
        assert np.count_nonzero(found) == int(torch.count_nonzero(kernel.used())), kernel.name


REFUSED = {
    "simple": ({}, "is a simple recurrent cell in float, which hls4ml has no firmware for; give it types"),
    "lstm": ({"state_type": graphs.RESULTS}, "has no range without its activation_type and recurrent_activation_type"),
    "gru": ({"reset_after": False}, "resets before its kernel, hls4ml after it"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_the_only_layers_of_these_graphs_that_hls4ml_refuses(kind: str, tmp_path: Path) -> None:
    settings, reason = REFUSED[kind]
    networks = (graphs.build(["recurrent"], seed=seed, fixed=True, flat=True) for seed in range(20))
    network = next(network for network in networks if network["cell_1"].cell == kind)
    shrunk = surgery.shrink(network, graphs.drawn_plan(network, seed=1))
    cell = shrunk["cell_1"].rebuilt(**{"state_type": None, "reset_after": True} | settings)
    with pytest.raises(NetworkError, match=reason):
        exported(shrunk.replacing({"cell_1": cell}), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stages", [("residual", "joined"), ("convolution", "pool")])
def test_the_firmware_of_a_shrunk_network_computes_the_masked_one(stages: tuple[str, ...], tmp_path: Path) -> None:
    network = graphs.build(list(stages), seed=4, fixed=True, flat=True)
    for layer in network:
        if isinstance(layer, Merge):
            layer.operation = "add"
    plan = graphs.drawn_plan(network, seed=1)
    shrunk, masked = surgery.shrink(network, plan), masks.apply(network, plan)
    target = {"part": "xcvu13p-flga2577-2-e", "clock_ns": 5.0, "clock_uncertainty": 0.125, "strategy": "latency"}
    project = hls.export(shrunk, tmp_path / "project", **target)
    hls.compile(project, n_jets=300)
    x = jets(network, seed=1, dtype=torch.float64)
    with torch.no_grad():
        expected = masked.double()(x).numpy()
    assert np.array_equal(hls.predict(project, x.numpy()), expected)
    check_gone(network, shrunk, plan)


@pytest.mark.parametrize("form", ["lstm", "gru", "simple"])
def test_both_directions_of_a_recurrent_layer_lose_the_same_states(form: str) -> None:
    """A layer of one direction that reads the same values is none of the two."""
    again = {name: array.flip(0) for name, array in cells.arrays(form).items()}
    alone, forwards = (Recurrent(name, form, **cells.arrays(form)) for name in ("alone", "forwards"))
    backwards = Recurrent("backwards", form, **again, backwards=True)
    head = Dense("out", torch.randn(2, 9, generator=torch.Generator().manual_seed(1)), torch.zeros(2))
    sources = dict.fromkeys(("alone", "forwards", "backwards"), "x")
    sources |= {"joined": ("alone", "forwards", "backwards"), "out": "joined"}
    layers = [Input("x", (4, 3)), alone, forwards, backwards, Concatenate("joined"), head]
    network = Network(layers, sources)
    by_maker = {tuple(m.layer for m in group.of("made")): group for group in coupling.groups(network) if not group.kept}
    assert set(by_maker) == {("alone",), ("forwards", "backwards")}
    both = by_maker["forwards", "backwards"]
    small = surgery.shrink(network, coupling.cuts(both, [1]))
    assert [small[name].n_out for name in ("alone", "forwards", "backwards")] == [3, 2, 2]
    x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(small(x), masks.apply(network, coupling.cuts(both, [1]))(x), atol=1e-6)


class Unruled(Layer):
    """A kind of layer that coupling has no rule for."""

    def compute(self, *values: torch.Tensor, quantised: bool) -> torch.Tensor:
        return values[0]


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (TopK("top", 2), "'top' lets the largest along it through"),
        (Unruled("own"), "layer 'own' (Unruled) has no rule for what shrinks with it; all that it reads stays"),
    ],
)
def test_what_goes_through_a_choice_or_an_unknown_layer_stays(layer: Layer, why: str) -> None:
    dense = [Dense(name, torch.ones(3, 3), torch.zeros(3)) for name in "ab"]
    network = Network([Input("x", 3), dense[0], layer, dense[1]])
    (group,) = [group for group in coupling.groups(network) if group.of("made")[0].layer == "a"]
    assert group.kept.startswith(why)
    assert len(surgery.shrink(masks.apply(network, coupling.cuts(group, [group.ids[0]])))["a"].weight) == 3


@pytest.mark.parametrize("n_values", [3, 6])
def test_types_of_the_gates_of_a_gru_go_with_its_states(n_values: int) -> None:
    """Both gates share types of n_out values, or each has its own."""
    integer = np.array([2, 3, 4, 3, 4, 2][:n_values])
    kind = FixedPoints(width=np.full(n_values, 8), integer=integer, signed=np.ones(n_values, dtype=bool))
    cell = Recurrent("cell", "gru", **cells.arrays("gru"), argument_type=kind)
    head = Dense("out", torch.randn(2, 3, generator=torch.Generator().manual_seed(1)), torch.zeros(2))
    network = Network([Input("x", (4, 3)), cell, head])
    (group,) = [group for group in coupling.groups(network) if group.of("made")[0].layer == "cell"]
    cuts = coupling.cuts(group, [1])
    small = surgery.shrink(network, cuts)
    assert small["cell"].argument_type.integer.tolist() == np.delete(integer, [1, 4][: n_values // 3]).tolist()
    x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(small(x), masks.apply(network, cuts)(x), atol=1e-6)
