import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Layer, Merge, Network, ReLU, Shared, Softmax
from hepprune.pruning import masks
from hepprune.pruning.masks import Cut
from hepprune.pruning.structure import blocks
from hepprune.task.sample import Sample
from tests.pruning import graphs

KIND = FixedPoint(6, 3, True, "RND", "SAT")
NARROW = FixedPoint(4, 3, True, "RND", "SAT")


def dense(name: str, n_out: int, n_in: int, result: FixedPoint | None = None) -> Dense:
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(len(name)))
    return Dense(name, weight, torch.ones(n_out), weight_type=KIND, bias_type=KIND, result=result)


def residual(result: FixedPoint | None) -> Network:
    layers: list[Layer] = [
        *(Input("x", 3, KIND), dense("stem", 4, 3, KIND)),
        *(dense("up", 6, 4), ReLU("r", KIND), dense("down", 4, 6, KIND)),
        *(Merge("sum", "add", result), dense("plain", 4, 4), ReLU("last_r", KIND), dense("out", 2, 4)),
    ]
    edges = {"stem": "x", "up": "stem", "r": "up", "down": "r", "sum": ("stem", "down")}
    return Network(layers, edges | {"plain": "sum", "last_r": "plain", "out": "last_r"})


@pytest.mark.parametrize("result", [None, NARROW])
def test_a_residual_branch_leaves_exactly(result: FixedPoint | None) -> None:
    network = residual(result)
    silent = masks.apply(network, [Cut("down", "weight", tuple(range(24)))])
    silent["down"].bias.data.zero_()
    smaller = blocks.without(network, "sum")
    x = 4 * torch.randn(200, 3)
    assert torch.equal(smaller(x), silent(x))
    assert ("sum" in smaller.layers) == (result is not None)  # the sum's rounding stays
    assert not {"up", "r", "down"} & set(smaller.layers)


def test_a_plain_block_leaves_where_shapes_agree() -> None:
    network = residual(None)
    assert [str(block) for block in blocks.blocks(network)] == [
        "sum: residual branch up > r > down, in whose place 'stem' is read",
        "last_r: plain block plain > last_r, in whose place 'sum' is read",
    ]
    smaller = blocks.without(network, "last_r")
    x = torch.randn(20, 3)
    assert torch.equal(smaller(x), network["out"](network.activations(x)["sum"]))
    with pytest.raises(NetworkError, match="no block can leave at unknown layer 'stem'; choose one of: sum, last_r"):
        blocks.without(network, "stem")


def test_what_others_need_stays() -> None:
    network = residual(None)
    layers = [*network, Shared("again", "up"), dense("narrow", 4, 6), Merge("end", "add")]
    shared = Network(layers, network.sources | {"again": "sum", "narrow": "again", "end": ("plain", "narrow")}, ["end"])
    assert "sum" not in {block.end for block in blocks.blocks(shared)}  # its branch lends weights to another place
    read = Network([*network, Merge("end", "add")], network.sources | {"end": ("down", "sum")}, ["end"])
    assert not [block for block in blocks.blocks(read) if "down" in block.layers and block.end == "sum"]


def test_several_inputs_and_outputs_keep_the_logits_of_each() -> None:
    """Two taggers side by side, one under a head: each keeps its last layer, and what lies before it can leave."""
    inputs = [Input("x", 4, KIND), Input("y", 4, KIND)]
    layers = [
        dense("left", 4, 4),
        dense("first", 4, 4),
        dense("right", 4, 4),
        dense("second", 4, 4),
        Softmax("softmax"),
    ]
    edges = {"left": "x", "first": "left", "right": "y", "second": "right", "softmax": "second"}
    network = Network([*inputs, *layers], edges, ["first", "softmax"])
    assert [block.layers for block in blocks.blocks(network)] == [("left",), ("right",)]
    values = [torch.randn(20, 4), torch.randn(20, 4)]
    smaller, whole = blocks.without(network, "right").activations(values), network.activations(values)
    assert torch.equal(smaller["first"], whole["first"])
    assert torch.equal(smaller["softmax"], torch.softmax(network["second"](whole["y"]), dim=-1))


def test_the_change_of_the_loss_is_measured() -> None:
    network = residual(None)
    x, y = torch.randn(50, 3), torch.randint(0, 2, (50,))
    loss = torch.nn.functional.cross_entropy
    expected = loss(blocks.without(network, "sum").logits(x), y) - loss(network.logits(x), y)
    assert blocks.loss_changes(network, Sample(x, y))["sum"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_attention_is_a_block_like_any_other() -> None:
    builder = graphs.Builder(np.random.default_rng(0), fixed=False)
    start = builder.dense(4)
    graphs.attention(builder)
    end = builder.dense(4)
    builder.add(Merge("sum", "add"), start, end)
    network = Network(builder.layers, builder.sources)
    (block,) = [block for block in blocks.blocks(network) if block.end == "sum"]
    assert len(block.layers) == 12
