"""Entities of VHDL have names that VHDL can bear and that nothing else has."""

import re

import pytest

from hepprune.errors import NetworkError
from hepprune.firmware.verilog import handover

MODULES = ("Small_RTL", "small_RTL_stage0", "mux", "alone_ports")


@pytest.mark.parametrize("name", ["tagger", "Tagger", "TAGGER", "jet_tagger2"])
def test_a_name_in_any_case_is_an_entity(name: str) -> None:
    handover.check_entity(name, MODULES)


@pytest.mark.parametrize(
    "name",
    ["signal", "Entity", "jet__tagger", "tagger_", "ieee", "WORK", "std", "std_logic_vector", "natural", "module", "clk",
     "model_inp", "model_out", "rtl", "network"],
)  # fmt: skip
def test_what_vhdl_cannot_bear_is_refused_with_a_name_that_it_can(name: str) -> None:
    with pytest.raises(NetworkError, match=f"^'{name}' is a word that VHDL or the tools keep") as refused:
        handover.check_entity(name, MODULES)
    handover.check_entity(re.findall(r"take '(\w+)'", str(refused.value))[0], MODULES)


@pytest.mark.parametrize("name", ["small_rtl", "SMALL_rtl_Stage0", "mux", "testbench", "alone"])
def test_a_module_of_the_design_or_of_its_bench_is_no_entity_or_package(name: str) -> None:
    with pytest.raises(NetworkError, match="needs another name than the Verilog module"):
        handover.check_entity(name, MODULES)


@pytest.mark.parametrize("name", ["", "2b", "a b", "_a", "a-b", "größe"])
def test_what_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(NetworkError, match="is not a firmware name"):
        handover.check_entity(name, MODULES)
