"""No vendor tool can be had here: a substitute on PATH writes what recorded runs wrote, and fails as they failed."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hepprune import synthesis
from hepprune.errors import ReportError, ToolMissingError
from hepprune.hardware.resources import Resources
from hepprune.synthesis import vendor
from tests.reference import REPORTS

DEEPSETS = REPORTS / "l1-jet-id-deepsets-4bit" / "kfold_0" / "synthesis_final"
SWITCHES = "array set opt {\n    vsynth     1\n}\n"
PART = "xcvu13p-flga2577-2-e"


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of basic programs and what the test puts there, no vendor's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "cp", "mkdir", "cat", "grep", "echo"):
        (folder / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def job(tmp_path: Path) -> synthesis.Job:
    """An HLS project and a Verilog file, as hepprune writes them."""
    project = tmp_path / "my project"
    project.mkdir()
    (project / "build_prj.tcl").write_text("# hls4ml's own\n")
    (project / "build_opt.tcl").write_text(SWITCHES)
    source = tmp_path / "my verilog" / "myproject.v"
    source.parent.mkdir()
    source.write_text("module myproject; endmodule\n")
    return synthesis.Job(
        folder=tmp_path / "run",
        top="myproject",
        sources=(source,),
        part=PART,
        clock_ns=5.0,
        latency_cycles=4,
        interval_cycles=1,
        hls_project=project,
    )


@pytest.fixture
def hls(bin_folder: Path) -> Path:
    """A `vitis-run` that leaves the file tree of a recorded C synthesis if it is asked as hls4ml asks it."""
    program(
        bin_folder,
        "vitis-run",
        f"""
[ "$*" = --version ] && {{ echo "Vitis v2024.2 (64-bit)"; exit 0; }}
[ "$*" = "--mode hls --tcl build_prj.tcl" ] || {{ echo "ERROR: asked for $*"; exit 1; }}
grep -q "synth 1" build_opt.tcl && grep -q "vsynth 0" build_opt.tcl || exit 1
echo "INFO: [HLS 200-10] working"
cp -r "{DEEPSETS}/myproject_prj" .""",
    )
    return bin_folder


@pytest.mark.usefixtures("hls")
def test_c_synthesis_of_the_project(job: synthesis.Job) -> None:
    found = synthesis.choose("auto").run(job)
    assert (found.stage, found.tool, found.version, found.part) == ("csynth", "vitis", "2020.1", PART)
    assert found.resources == Resources(lut=518548, ff=56865, dsp=71, bram18=4, uram=0)
    assert (found.latency_cycles, found.interval_cycles, found.clock) == (19, 2, "met")
    assert "working" in job.log.read_text()
    assert job.hls_project is not None
    assert (job.hls_project / "build_opt.tcl").read_text() == SWITCHES


def test_c_and_logic_synthesis_of_the_project(hls: Path, job: synthesis.Job) -> None:
    asked = '[ "$*" = "-mode batch -source vivado_synth.tcl" ] || exit 1'
    program(hls, "vivado", f'{asked}\necho "INFO: logic"\ncp "{DEEPSETS}/vivado_synth.rpt" .')
    found = synthesis.choose("auto").run(job)
    assert (found.stage, found.tool, found.part, found.clock_ns) == ("vsynth", "vitis_vivado", PART, 5.0)
    assert found.resources == Resources(lut=235359, ff=90190, dsp=101, bram18=4, uram=0)
    assert (found.latency_cycles, found.interval_cycles, found.clock) == (19, 2, "assumed")
    assert job.log.read_text() == "INFO: [HLS 200-10] working\nINFO: logic\n"


@pytest.mark.parametrize(("slack", "clock"), [("0.312", "met"), ("-0.020", "missed"), ("", "assumed")])
@pytest.mark.usefixtures("hls")
def test_logic_synthesis_of_the_verilog(bin_folder: Path, job: synthesis.Job, slack: str, clock: str) -> None:
    (bin_folder / "vitis-run").unlink()
    asked = '[ "$*" = "-mode batch -nojournal -source synthesis.tcl" ] || exit 1'
    keep = f'cp "{DEEPSETS}/vivado_synth.rpt" .\necho "{slack}" > slack_ns.txt\ncat synthesis.tcl clock.xdc'
    program(bin_folder, "vivado", f"{asked}\n{keep}")
    found = synthesis.choose("auto").run(job)
    assert (found.stage, found.tool, found.clock, found.latency_cycles) == ("vsynth", "vivado", clock, 4)
    script = job.log.read_text()
    assert "read_verilog -sv {../my verilog/myproject.v}" in script  # whatever the folder above is called
    assert "synth_design -mode out_of_context -flatten_hierarchy rebuilt -top myproject -part xcvu13p" in script
    assert "create_clock -period 5 " in script


def test_a_failed_c_synthesis_says_its_cause_and_restores_the_switches(bin_folder: Path, job: synthesis.Job) -> None:
    log = REPORTS / "failed-logs" / "elaborate-HLS-200-70.log"
    program(bin_folder, "vitis_hls", f'[ "$*" = "-f build_prj.tcl" ] || exit 9\ncat "{log}"\nexit 1')
    with pytest.raises(ReportError, match=r"vitis_hls ended with 1: ERROR: \[HLS 200-70\] Cannot find any design unit"):
        synthesis.choose("vitis").run(job)
    assert job.hls_project is not None
    assert (job.hls_project / "build_opt.tcl").read_text() == SWITCHES


def test_a_run_that_leaves_no_report_is_an_error(bin_folder: Path, job: synthesis.Job) -> None:
    program(bin_folder, "vitis_hls", "echo nothing to do")
    with pytest.raises(ReportError, match=r"left no .*myproject_csynth\.xml"):
        synthesis.choose("vitis").run(job)


def test_without_a_project_there_is_nothing_to_run(bin_folder: Path, job: synthesis.Job) -> None:
    program(bin_folder, "vitis_hls", "exit 0")
    with pytest.raises(ReportError, match="needs an HLS project"):
        synthesis.choose("vitis").run(replace(job, hls_project=None))


@pytest.mark.parametrize("change", [{"top": "a[exit]"}, {"part": "x; exit"}, {"sources": (Path("/a}{b.v"),)}])
def test_nothing_that_tcl_would_run_gets_into_the_script(
    bin_folder: Path, job: synthesis.Job, change: dict[str, object]
) -> None:
    program(bin_folder, "vivado", "exit 0")
    with pytest.raises(ReportError, match="Tcl"):
        synthesis.choose("vivado").run(replace(job, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "option", "banner"),
    [
        ("vitis-run", "--version", "****** Vitis Run v2024.2 (64-bit)"),
        ("vitis_hls", "-version", "Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v2022.2 (64-bit)"),
        ("vivado_hls", "-version", "Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC v2020.1 (64-bit)"),
        ("vivado", "-version", "Vivado v2019.2.1 (64-bit)"),
    ],
)
def test_every_program_says_its_release(bin_folder: Path, name: str, option: str, banner: str) -> None:
    program(bin_folder, name, f'[ "$*" = "{option}" ] || exit 1\necho\necho "{banner}"\necho "SW Build 1"')
    assert vendor.version("nothing", name) == banner


def test_versions(bin_folder: Path) -> None:
    with pytest.raises(ToolMissingError, match="vitis-run or vitis_hls is not on PATH"):
        vendor.version("vitis-run", "vitis_hls")
    program(bin_folder, "vivado", '[ "$1" = -version ] && echo "Vivado v2023.1 (64-bit)"')
    assert vendor.version("vivado") == "Vivado v2023.1 (64-bit)"
    program(bin_folder, "vitis_hls", "exit 1")
    assert vendor.version("vitis-run", "vitis_hls") == str(bin_folder / "vitis_hls")
