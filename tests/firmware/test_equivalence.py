"""What is equal passes, and what is not is stopped with the layer that differs first."""

from pathlib import Path

import pytest
import torch

from hepprune.errors import EquivalenceError
from hepprune.firmware import equivalence, hls, rtl
from hepprune.network import Network, Softmax
from hepprune.task import Classes, Regression, Tasks
from tests.firmware.conftest import jets

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("equivalence")]
PART = "xcvu13p-flga2577-2-e"


def changed(network: Network, layer: str) -> Network:
    other = network.clone()
    with torch.no_grad():
        weight = other[layer].weight
        weight[0, 0] = -weight[0, 0] + 0.25
    return other


def test_csim_under_a_head_is_compared_by_its_logits(
    small: Network, under_softmax: tuple[Network, hls.Project]
) -> None:
    check = equivalence.against_csim(*under_softmax, jets(small, 1000))
    assert (check.kind, check.vectors, check.mismatches, check.first_layer) == ("csim", 1000, 0, None)
    assert check.agreement > 0.999


def test_csim_under_an_argmax_agrees_by_its_indices(small: Network, under_argmax: tuple[Network, hls.Project]) -> None:
    for task in (None, Classes(), Regression()):
        assert equivalence.against_csim(*under_argmax, jets(small, 200), task).agreement == 1


@pytest.mark.parametrize("layer", ["fc1", "fc2"])
def test_a_network_that_moved_on_is_caught_in_its_layer(
    small: Network, under_softmax: tuple[Network, hls.Project], layer: str
) -> None:
    with_head = Network([*changed(small, layer), Softmax("softmax")])
    with pytest.raises(
        EquivalenceError, match=rf"of 3000 logits, first in layer '{layer}'; the first jet .* number \d+"
    ):
        equivalence.against_csim(with_head, under_softmax[1], jets(small, 1000))


def test_a_corrupted_weight_in_the_project_is_caught_in_its_layer(
    small: Network, under_softmax: tuple[Network, hls.Project]
) -> None:
    """A simulation reads its weights when it starts."""
    weights = max((under_softmax[1].folder / "firmware" / "weights").glob("w*.txt"))
    sound = weights.read_text()
    values = sound.split(",")
    values[0] = str(-float(values[0]) + 0.25)
    weights.write_text(",".join(values))
    try:
        with pytest.raises(EquivalenceError, match="first in layer 'fc2'"):
            equivalence.against_csim(*under_softmax, jets(small, 500))
    finally:
        weights.write_text(sound)


@pytest.mark.usefixtures("built_once")
def test_verilog_of_another_network_is_stopped(small: Network, tmp_path: Path) -> None:
    design = rtl.write_verilog(
        rtl.solve(small), tmp_path / "rtl", name="tagger", levels_per_cycle=2, part=PART, clock_ns=5.0
    )
    inputs = jets(small, 500)
    check = equivalence.against_rtl(small, design, inputs, Tasks({small.output.name: Regression()}))
    assert (check.mismatches, check.agreement) == (0, 1.0)
    with pytest.raises(EquivalenceError, match="this one is of another network"):
        equivalence.against_rtl(changed(small, "fc2"), design, inputs)
