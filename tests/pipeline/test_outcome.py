"""What the last part of a run is kept under."""

from pathlib import Path

import torch

from hepprune import recipe
from hepprune.hardware import targets
from hepprune.network import Dense, Input, Network
from hepprune.pipeline import outcome
from hepprune.pipeline.context import Context

SMALL = """
name: small
data: {file: jets.root:Jets, features: [a, b], classes: [q, t]}
model: {hidden: [4]}
budget: {lut_of_baseline: 0.5}
"""


def test_uniform_pruning_of_another_objective_is_another_result(tmp_path: Path) -> None:
    network = Network([Input("x", 2), Dense("dense", torch.ones(2, 2), torch.zeros(2))])
    keys = []
    for text in (SMALL, SMALL + "objective: loss", SMALL + "objective: auc"):
        (tmp_path / "recipe.yaml").write_text(text)
        own = recipe.load(tmp_path / "recipe.yaml")
        context = Context(recipe=own, target=targets.load(own.target), build=tmp_path)
        keys.append(outcome.naming(context, network, "jets", 100.4, None))
    plain, named, other = keys
    assert plain == named
    assert other == [*plain, "auc"]
