import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hepprune.errors import ReportError
from hepprune.synthesis.failures import RunFailedError
from hepprune.synthesis.job import Job, first_error, run
from tests.reference import REPORTS

# Starts a child that would outlive it, tells its process id, and does not end.
ENDLESS = 'sleep 600 & echo $! > "$0/child"; wait'


def job(folder: Path, *, time_limit_s: float = 60.0) -> Job:
    return Job(
        folder=folder,
        top="top",
        sources=(),
        part="xcvu13p-flga2577-2-e",
        clock_ns=5.0,
        latency_cycles=1,
        interval_cycles=1,
        time_limit_s=time_limit_s,
    )


def shell(script: str, folder: Path, *, time_limit_s: float = 60.0) -> None:
    run(("sh", "-c", script, str(folder)), job(folder, time_limit_s=time_limit_s), cwd=folder, writes=folder / "report")


def gone(process: int) -> bool:
    """Whether a process has ended; its state is Z until the machine's first process has buried it."""
    stat = Path(f"/proc/{process}/stat")
    for _ in range(100):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_output_goes_to_the_log_and_the_report_is_there(tmp_path: Path) -> None:
    shell('echo working; echo oops >&2; touch "$0/report"', tmp_path)
    assert job(tmp_path).log.read_text() == "working\noops\n"


def test_a_tool_over_its_time_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"sh ran over its 1 s; its log is"):
        shell(ENDLESS, tmp_path, time_limit_s=1.0)
    assert gone(int((tmp_path / "child").read_text()))


def test_children_of_a_tool_that_has_ended_are_ended_too(tmp_path: Path) -> None:
    shell('sleep 600 & echo $! > "$0/child"; touch "$0/report"', tmp_path)
    assert gone(int((tmp_path / "child").read_text()))


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hepprune.synthesis.job import Job, run\n"
        "folder = Path(sys.argv[1]); cycles = dict(latency_cycles=1, interval_cycles=1)\n"
        "job = Job(folder=folder, top='top', sources=(), part='part', clock_ns=5.0, **cycles)\n"
        "run(('sh', '-c', sys.argv[2], str(folder)), job, cwd=folder, writes=folder / 'report')"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path, ENDLESS], stderr=subprocess.PIPE) as process:
        child = tmp_path / "child"
        while not (child.is_file() and child.read_text().strip()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert gone(int(child.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_their_programs_when_the_command_is_ended(tmp_path: Path, stop: signal.Signals) -> None:
    """A tool has a session of its own, which no terminal's Ctrl-C reaches; nor may the pool begin the next one."""
    code = (
        "import sys; from functools import partial; from pathlib import Path; from hepprune import executors\n"
        "from hepprune.synthesis.job import Job, run; folder = Path(sys.argv[1])\n"
        "task = partial(run, ('sh', '-c', sys.argv[2], str(folder)), cwd=folder, writes=folder / 'report')\n"
        "rest = dict(top='top', sources=(), part='part', clock_ns=5.0, latency_cycles=1, interval_cycles=1)\n"
        "jobs = [Job(folder=folder / name, **rest) for name in 'ab']\n"
        "with executors.open('processes:1') as pool: executors.gather(pool, task, jobs)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path, ENDLESS], stderr=subprocess.PIPE) as process:
        child = tmp_path / "child"
        while not (child.is_file() and child.read_text().strip()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(stop)
        process.communicate(timeout=10)
    assert gone(int(child.read_text()))
    assert [name for name in "ab" if (tmp_path / name).exists()] == ["a"]


def test_a_report_of_an_earlier_run_is_not_taken_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("old")
    with pytest.raises(ReportError, match="ended well but left no"):
        shell("true", tmp_path)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo first; echo last; exit 3", "sh ended with 3: last"),
        ("exit 1", "sh ended with 1: it printed nothing"),
        ("echo 'ERROR: cause'; echo 'ERROR: consequence'; echo bye; exit 1", "sh ended with 1: ERROR: cause"),
        ("kill -9 $$", "for lack of memory"),
        ("kill -15 $$", "was ended by signal 15"),
    ],
)
def test_failures_say_why(tmp_path: Path, script: str, sentence: str) -> None:
    with pytest.raises(ReportError, match=sentence.replace("$", r"\$")):
        shell(script, tmp_path)


def test_only_this_programs_errors_are_quoted(tmp_path: Path) -> None:
    shell('echo "ERROR: harmless"; touch "$0/report"', tmp_path)
    with pytest.raises(ReportError, match="ended with 1: ERROR: mine"):
        shell("echo 'ERROR: mine'; exit 1", tmp_path)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("dataflow-XFORM-203-711.log", "[XFORM 203-711] Internal global variable 'layer_in.V'"),
        ("elaborate-HLS-200-70.log", "[HLS 200-70] Cannot find any design unit to elaborate."),
    ],
)
def test_the_cause_in_logs_of_real_failures(name: str, cause: str) -> None:
    assert cause in first_error(REPORTS / "failed-logs" / name)


def test_the_first_error_of_a_log_of_gigabytes_is_sought_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.seek(4 * 2**30)
        file.write(b"\nERROR: here\n")
    assert first_error(log).endswith("ERROR: here")
    os.truncate(log, 0)


def test_a_tool_over_its_memory_is_ended(tmp_path: Path) -> None:
    limited = replace(job(tmp_path), memory_limit_bytes=5e7)
    eat = f"{sys.executable} -c 'x = bytearray(2 * 10**8); import time; time.sleep(60)'"
    with pytest.raises(RunFailedError, match=r"sh took more than its 0\.05 GB") as refusal:
        run(("sh", "-c", eat), limited, cwd=tmp_path, writes=tmp_path / "report")
    assert (refusal.value.failure.kind, refusal.value.failure.part) == ("out_of_memory", limited.part)


def test_the_log_tells_what_is_going_on_while_it_goes_on(tmp_path: Path) -> None:
    lines = ["***** C/RTL SYNTHESIS *****", "INFO: [HLS 200-10] Analyzing design file", "Start RTL Elaboration "]
    script = "".join(f"echo '{line}'; sleep 0.5; " for line in [*lines, "2.1. Executing PROC pass (x)."])
    reported: list[str] = []
    watched = replace(job(tmp_path), progress=reported.append)
    run(("sh", "-c", f"{script} touch report"), watched, cwd=tmp_path, writes=tmp_path / "report")
    assert reported == ["C/RTL SYNTHESIS", "Analyzing design file", "RTL Elaboration", "PROC pass"]
