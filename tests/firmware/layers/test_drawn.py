"""Drawn graphs, and tables that are the network's own, compiled with g++: bit for bit what the Network computes."""

from pathlib import Path

import pytest

from hepprune.errors import NetworkError
from hepprune.firmware import layers
from hepprune.network import Network
from tests.firmware.layers.test_projects import checked, tables
from tests.firmware.networks import together
from tests.firmware.test_tracing_verilog import FEW, chosen, drawn_graphs


def _has_form(network: Network, io_type: str) -> bool:
    try:
        return bool(layers.described(network, io_type=io_type))
    except NetworkError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("io_type", "number"), [("io_parallel", 11), ("io_stream", 5)])
def test_the_compiled_project_computes_drawn_graphs_of_every_stage(io_type: str, number: int, tmp_path: Path) -> None:
    made = [network for network in drawn_graphs() if _has_form(network, io_type)]
    assert len(made) == number
    check = checked(together(made), io_type, tmp_path / "hls")
    assert (check.tables, check.agreement) == ((), 1)


@pytest.mark.slow
def test_the_compiled_project_computes_tables_that_have_types(tmp_path: Path) -> None:
    network = chosen(tables("io_parallel", **FEW))
    check = checked(network, "io_parallel", tmp_path / "hls")
    assert [name for name, _ in check.tables] == ["softmax"]  # the head, which is hls4ml's own and has no type
