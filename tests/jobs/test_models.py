"""What the command line does with a model alone: look into it, shrink it, prove that nothing changed."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.errors import EquivalenceError, NetworkError
from hepprune.jobs import models
from hepprune.network import Dense, Input, LayerNorm, Network, Recurrent, ReLU, Softmax, load, save
from hepprune.pruning import masks
from hepprune.pruning.structure import surgery


@pytest.fixture
def half_dead(tagger: Network, tmp_path: Path) -> Path:
    plan = [masks.Cut("dense_1", "neuron", (1, 4), (0.25, 0.0)), masks.Cut("dense_2", "neuron", (0,))]
    return save(masks.apply(tagger, plan), tmp_path / "half_dead.npz")


def test_a_description_counts_what_is_there(half_dead: Path) -> None:
    rows = {row.name: row for row in models.describe(load(half_dead))}
    first = rows["dense_1"]
    assert (first.kind, first.shape, first.dead, first.weight_bits) == ("Dense", (16,), 2, 6.0)
    assert first.parameters == 16 * 8 + 16
    assert first.nonzero < first.nonzero_float == 16 * 8
    assert rows["dense_2"].dead == 1
    assert rows["relu_1"].result_bits == 6.0


def test_what_no_firmware_can_be_made_of_is_named_with_the_reason() -> None:
    weights = (torch.randn(3, 4), torch.randn(3, 3), torch.zeros(3), torch.zeros(3))
    kernel, again, bias, more = weights
    cell = Recurrent("cell", "simple", weight=kernel, recurrent_weight=again, bias=bias, recurrent_bias=more)
    norm = LayerNorm("norm", torch.ones(4), torch.zeros(4))
    rows = {row.name: row.refused for row in models.describe(Network([Input("x", (5, 4)), norm, cell]))}
    assert rows["x"] == ()
    assert "simple recurrent cell" in rows["cell"][0]
    assert [reason.partition(":")[0] for reason in rows["norm"]] == ["io_stream"]


def test_a_float_network_with_attention_and_a_cell_is_described() -> None:
    arrays = {"weight": torch.randn(12, 4), "recurrent_weight": torch.randn(12, 3)}
    biases = {"bias": torch.zeros(12), "recurrent_bias": torch.zeros(12)}
    layers = [Input("x", (5, 4)), Softmax("inside"), Recurrent("cell", "lstm", **arrays, **biases), Softmax("head")]
    assert [row.refused for row in models.describe(Network(layers))] == [(), (), (), ()]


def test_shrinking_keeps_every_output(half_dead: Path, tmp_path: Path) -> None:
    done = models.shrink(half_dead, tmp_path / "small.npz")
    assert done.exact
    assert done.difference == 0
    assert done.removed == {"dense_1": 2, "dense_2": 1}
    assert done.parameters == sum(p.numel() for p in load(done.path).parameters()) < done.parameters_before


def test_a_surgery_that_changes_outputs_writes_nothing(
    half_dead: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        surgery, "shrink", lambda network: masks.apply(network, [masks.Cut("dense_3", "weight", tuple(range(12)))])
    )
    with pytest.raises(EquivalenceError, match="nothing was written"):
        models.shrink(half_dead, tmp_path / "small.npz")
    assert not (tmp_path / "small.npz").exists()


def test_a_float_model_says_how_close_it_is(tmp_path: Path) -> None:
    layers = [Input("x", 3), Dense("a", torch.randn(4, 3), torch.randn(4)), ReLU("r")]
    last = torch.randn(2, 4)
    last[:, 1] = 0
    path = save(Network([*layers, Dense("b", last, torch.randn(2))]), tmp_path / "float.npz")
    done = models.shrink(path, tmp_path / "small.npz")
    assert not done.exact
    assert done.removed == {"a": 1}


def test_the_model_itself_is_not_overwritten(half_dead: Path) -> None:
    before = half_dead.read_bytes()
    with pytest.raises(NetworkError, match="is the model itself"):
        models.shrink(str(half_dead), half_dead)
    assert half_dead.read_bytes() == before


def test_the_command_line_prints_tables_and_json(half_dead: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["inspect", str(half_dead)])
    assert shown.exit_code == 0
    assert "dense_1" in shown.output
    assert "3 neurons or filters are dead" in " ".join(shown.output.split())
    rows = json.loads(CliRunner().invoke(app, ["inspect", str(half_dead), "--json"]).output)
    assert [row["name"] for row in rows][:2] == ["features", "dense_1"]
    out = tmp_path / "small.npz"
    done = CliRunner().invoke(app, ["shrink", str(half_dead), "-o", str(out), "--json"])
    assert json.loads(done.output)["removed"] == {"dense_1": 2, "dense_2": 1}
    assert "bit for bit" in CliRunner().invoke(app, ["shrink", str(half_dead), "-o", str(out)]).output


@pytest.mark.parametrize("model", ["nowhere.h5", "tests", "README.md"])
def test_what_is_no_model_is_refused_in_one_sentence(model: str) -> None:
    done = CliRunner().invoke(app, ["inspect", model])
    assert done.exit_code == 1
    assert model in done.output or model in done.stderr
