"""`hepprune synth` as a user meets it: real processes, substitutes of the vendor's programs, exit codes, Ctrl-C."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hepprune import cli, executors
from hepprune.jobs import farm
from hepprune.synthesis.ledger import Ledger

SETTINGS = 'set project_name "myproject"\nset part "xcvu13p-flga2577-2-e"\nset clock_period 5.0\n'
# What a recorded C synthesis wrote, cut to what its report must hold.
REPORT = """<profile><ReportVersion><Version>2024.2</Version></ReportVersion>
<UserAssignments><Part>xcvu13p-flga2577-2-e</Part><TopModelName>myproject</TopModelName>
<TargetClockPeriod>5.00</TargetClockPeriod><ClockUncertainty>1.35</ClockUncertainty></UserAssignments>
<PerformanceEstimates><SummaryOfTimingAnalysis><EstimatedClockPeriod>3.5</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Best-caseLatency>9</Best-caseLatency><Worst-caseLatency>9</Worst-caseLatency>
<Interval-min>1</Interval-min><Interval-max>1</Interval-max></SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>4</BRAM_18K><DSP>12</DSP><FF>3000</FF><LUT>{lut}</LUT><URAM>0</URAM></Resources>
<AvailableResources><BRAM_18K>5376</BRAM_18K><DSP>12288</DSP><FF>3456000</FF><LUT>1728000</LUT><URAM>1280</URAM>
</AvailableResources></AreaEstimates></profile>
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two HLS projects, and a PATH of basic programs and what the test puts there."""
    (tmp_path / "bin").mkdir()
    for program in ("sh", "cp", "mkdir", "echo", "sleep", "cat"):
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name, lut in (("one", 1000), ("two", 2000)):
        project = tmp_path / name
        (project / "firmware").mkdir(parents=True)
        (project / "firmware" / "myproject.cpp").write_text(f"// {name}")
        (project / "build_prj.tcl").write_text("# hls4ml's own\n")
        (project / "project.tcl").write_text(SETTINGS)
        (project / "recorded.xml").write_text(REPORT.format(lut=lut))
    return tmp_path


def install(bench: Path, work: str, name: str = "vitis-run") -> None:
    says = 'case "$1" in *version) echo "Vitis v2024.2 (64-bit)"; exit;; esac\n'
    program = bench / "bin" / name
    program.write_text(f"#!/bin/sh\n{says}{work}\n")
    program.chmod(0o755)


WRITES = "mkdir -p myproject_prj/solution1/syn/report\ncp recorded.xml myproject_prj/solution1/syn/report/myproject_csynth.xml"


def hepprune(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["synth", *map(str, arguments)])


def test_the_log_is_followed_while_the_program_runs(bench: Path) -> None:
    phases = ["***** C/RTL SYNTHESIS *****", "INFO: [HLS 200-10] Analyzing design file", "INFO: [HLS 200-10] -- Done"]
    install(bench, "".join(f"echo '{phase}'; sleep 0.5\n" for phase in phases) + WRITES)
    reported: dict[str, list[str]] = {}

    @contextmanager
    def track(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        del total
        yield lambda _=1, note="": reported.setdefault(name, []).append(note)

    runs = farm.synthesise([bench / "one"], track=track)
    assert [run.measurement and run.measurement.resources.lut for run in runs] == [1000]
    assert reported == {"vitis: one": ["C/RTL SYNTHESIS", "Analyzing design file", "Done"]}


@pytest.mark.slow
def test_ctrl_c_ends_every_program_and_what_was_done_is_kept(bench: Path) -> None:
    ledger = bench / "ledger.sqlite"
    install(bench, f'case "$PWD" in *two) echo $$ > {bench}/process; sleep 600;; esac\n{WRITES}')
    command = [
        sys.executable,
        "-m",
        "hepprune",
        "synth",
        bench / "one",
        bench / "two",
        "--jobs",
        "2",
        "--ledger",
        ledger,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        while not ((bench / "process").is_file() and (bench / "one/synthesis/vitis.json").is_file()):
            assert running.poll() is None
            time.sleep(0.05)
        time.sleep(1.0)  # the outcome of the first reaches the ledger
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode in {130, -signal.SIGINT}, said  # a shell says 130 of both
    assert "what was finished is kept, and this goes on from there: hepprune" in said
    process = Path(f"/proc/{(bench / 'process').read_text().strip()}/stat")
    assert not process.exists() or process.read_text().rpartition(")")[2].split()[0] == "Z"
    with Ledger(ledger) as book:
        assert [design.measurements for design in book.designs()] == [1]
    install(bench, WRITES)
    again = hepprune(bench / "one", bench / "two", "--ledger", ledger, "--json")
    assert [run["resumed"] for run in json.loads(again.stdout)] == [True, False]


def test_exit_codes_and_limits(bench: Path) -> None:
    missing = hepprune(bench / "one", "--tool", "vivado")
    assert (missing.exit_code, "vivado" in missing.stderr) == (3, True)
    install(bench, 'echo "ERROR: [Common 17-345] A valid license was not found"; exit 7')
    failed = hepprune(bench / "one", "--json")
    (run,) = json.loads(failed.stdout)
    assert (failed.exit_code, run["failure"]["kind"], run["failure"]["exit_code"]) == (1, "no_licence", 7)
    assert "XILINXD_LICENSE_FILE" in failed.stderr
    install(bench, "sleep 600")
    slow = hepprune(bench / "one", "--hours", "0.0003", "--json")
    assert (slow.exit_code, json.loads(slow.stdout)[0]["failure"]["kind"]) == (1, "over_time")
    install(bench, f"exec {sys.executable} -c 'x = bytearray(3 * 10**8); import time; time.sleep(600)'")
    large = hepprune(bench / "one", "--memory-gb", "0.1", "--json")
    assert (large.exit_code, json.loads(large.stdout)[0]["failure"]["kind"]) == (1, "out_of_memory")


def test_a_failure_of_one_project_does_not_stop_the_others(bench: Path) -> None:
    install(bench, f'case "$PWD" in *one) echo "ERROR: [HLS 214-1] no"; exit 3;; esac\n{WRITES}')
    with executors.open("threads:2") as pool:
        runs = farm.synthesise([bench / "one", bench / "two"], executor=pool, ledger=bench / "ledger.sqlite")
    assert [(run.failure and run.failure.exit_code, run.measurement is not None) for run in runs] == [
        (3, False),
        (None, True),
    ]
    with Ledger(bench / "ledger.sqlite") as book:
        assert sorted((each.measurements, each.failures) for each in book.designs()) == [(0, 1), (1, 0)]


def test_a_release_that_changed_measures_again(bench: Path) -> None:
    install(bench, WRITES)
    assert [farm.synthesise([bench / "one"])[0].resumed for _ in range(2)] == [False, True]
    program = bench / "bin" / "vitis-run"
    program.write_text(program.read_text().replace("2024.2", "2025.1"))
    assert not farm.synthesise([bench / "one"])[0].resumed
