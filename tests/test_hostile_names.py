"""Names out of files of strangers never reach Tcl, Make, a shell, C++ or Verilog as anything but names."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError, ReportError
from hepprune.firmware.folders import check_names
from hepprune.frontends.names import identifiers
from hepprune.network import ReLU
from hepprune.recipe import Recipe
from hepprune.synthesis import vendor, yosys
from hepprune.synthesis.job import Job

HOSTILE = (
    "a[exec id]", "a;exit", "$(id)", "${id}", "`id`", 'a"b', "a'b", "a\nb", "a b", "../a", "a{b", "a}b", "a\\b", "a|b", "a&b",
    "#a", "%s", "-part", "", "größe", "a\x00b", "a\u2028b", "*/ x /*", "// x", "a" * 10_000 + " ", "\x1b[2J",
)  # fmt: skip
JOB = Job(
    folder=Path("folder"),
    top="top",
    sources=(Path("a.v"),),
    part="xcvu13p-flga2577-2-e",
    clock_ns=5.0,
    latency_cycles=1,
    interval_cycles=1,
)
hostile = pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])


@hostile
def test_projects_tops_parts_and_layers_refuse_what_is_no_name(name: str) -> None:
    with pytest.raises(NetworkError, match="not a firmware name"):
        check_names(name, part=JOB.part, clock_ns=5.0)
    with pytest.raises(NetworkError, match="not an FPGA part"):
        check_names("top", part=name, clock_ns=5.0)
    with pytest.raises(NetworkError, match="not an identifier"):
        ReLU(name)
    with pytest.raises(ReportError, match="Tcl would read as commands"):
        vendor._script(replace(JOB, top=name))
    with pytest.raises(ReportError, match="Tcl would read as commands"):
        vendor._script(replace(JOB, part=name))
    with pytest.raises(ReportError, match="not a Verilog identifier"):
        yosys.top(replace(JOB, top=name))
    with pytest.raises(ReportError, match="no family for part"):
        yosys.family(name)
    with pytest.raises(ValueError, match="name"):
        Recipe.model_validate({"name": name, "data": {}, "budget": {}})


@pytest.mark.parametrize("path", ["a}b.v", "a{b.v", "a\\b.v", "a\nb.v"])
def test_paths_that_tcl_cannot_quote_are_refused(path: str) -> None:
    with pytest.raises(ReportError, match="cannot be quoted for Tcl"):
        vendor._script(replace(JOB, sources=(Path(path),)))


@pytest.mark.parametrize("path", ['a"b.v', "a\nb.v"])
def test_paths_that_yosys_cannot_quote_are_refused(path: str) -> None:
    with pytest.raises(ReportError, match="cannot be quoted for Yosys"):
        yosys._read(replace(JOB, sources=(Path(path),)))


def test_other_paths_stay_one_word() -> None:
    """In braces Tcl substitutes nothing; between quotes Yosys does not."""
    odd = Path("/a b/$x [y];z.v")
    job = replace(JOB, folder=Path("/folder"), sources=(odd,))
    assert "read_verilog -sv {../a b/$x [y];z.v}\n" in vendor._script(job)
    assert yosys._read(job) == 'read_verilog -sv -defer "../a b/$x [y];z.v"\n'


@given(st.lists(st.text(max_size=8), max_size=5))
def test_names_of_frameworks_become_names_that_layers_take(names: list[str]) -> None:
    found = identifiers(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(set(names))
    for name in found.values():
        ReLU(name)
