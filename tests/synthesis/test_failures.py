import time

import pytest

from hepprune.synthesis.failures import FAILURES, classify
from tests.reference import REPORTS

# Lines as the tools and the shell write them, from public issues and logs.
LINES = [
    ('/tools/Xilinx/bin/rdiArgs.sh: line 194:  8288 Killed                  "$RDI_PROG" "$@"', "out_of_memory"),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "out_of_memory"),
    (
        "ERROR: [Common 17-345] A valid license was not found for feature 'Synthesis' and/or device 'xcvu13p'",
        "no_licence",
    ),
    ("ERROR: [XFORM 203-504] Stop unrolling loop 'MultLoop' (nnet_dense.h:43) because it may cause", "unroll_limit"),
    ("ERROR: [HLS 200-979] Argument 'v' failed dataflow checking: it can only be written", "dataflow_violation"),
    ("ERROR: [Synth 8-439] module 'dense' not found", "elaboration"),
    (
        "ERROR: [Place 30-640] Place Check : This design requires more Slice LUTs cells than are available",
        "over_capacity",
    ),
    ("ERROR: [HLS 207-3776] use of undeclared identifier 'N' (tagger.cpp:42:7)", "source"),
    ("ERROR: [COSIM 212-4] *** C/RTL co-simulation finished: FAIL ***", "simulation"),
    ("CRITICAL WARNING: [Timing 38-282] The design failed to meet the timing requirements.", "timing_not_met"),
    ("WARNING: [SCHED 204-21] Estimated clock period (7.994ns) exceeds the target (5ns)", "timing_not_met"),
    ("ERROR: something that nobody has seen", "unknown"),
    ("Abnormal program termination (11)", "crash"),
    ("# An unexpected error has occurred (6)", "crash"),
    ("An unrecoverable error has occurred, synthesis cancelled.", "crash"),
    ("g++: internal compiler error: Segmentation fault signal terminated program cc1plus", "crash"),
    ("g++: fatal error: Killed signal terminated program cc1plus", "out_of_memory"),
    ("firmware/tagger.cpp:12:3: error: use of undeclared identifier 'N'", "source"),
    ("slurmstepd: error: Detected 1 oom_kill event in StepId=12.batch. Some of the step tasks", "out_of_memory"),
    ("slurmstepd: error: Exceeded job memory limit at some point.", "out_of_memory"),
    ("srun: error: n1: task 0: Out Of Memory", "out_of_memory"),
    ("slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2025-01-01T00:00:00 DUE TO TIME LIMIT ***", "over_time"),
    ("slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2025-01-01T00:00:00 ***", "unknown"),
    ("=>> PBS: job killed: walltime 3605 exceeded limit 3600", "over_time"),
    ("TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.", "out_of_memory"),
]


@pytest.mark.parametrize(("line", "kind"), LINES)
def test_each_kind_is_told_by_its_own_line(line: str, kind: str) -> None:
    failure = classify(
        f"INFO: fine\n{line}\nERROR: [HLS 200-70] Pre-synthesis failed.\n" if "WARN" not in line else line
    )
    assert failure is not None
    assert (failure.kind, failure.message) == (kind, line)
    assert failure.fix == FAILURES[kind].fix
    assert failure.sentence.startswith(f"the run failed ({kind.replace('_', ' ')})")


def test_the_earliest_cause_wins_and_keeps_its_line() -> None:
    log = "INFO: a\nERROR: [XFORM 203-504] Stop unrolling loop\nKilled\n"
    failure = classify(log, exit_code=1)
    assert failure is not None
    assert (failure.kind, failure.line, failure.exit_code) == ("unroll_limit", 2, 1)


def test_what_a_script_tried_before_it_succeeded_is_no_failure() -> None:
    tried = "ERROR: [HLS 200-642] The command is not supported.\n"
    done = "***** C/RTL SYNTHESIS COMPLETED IN 0h5m58s *****\n"
    assert classify(tried + done) is None
    assert classify("WARNING: [XFORM 203-504] almost\nINFO: failed dataflow checking\n") is None
    failure = classify(tried + done + "ERROR: after it\n")
    assert failure is not None
    assert failure.line == 3


# A script of Vitis HLS that tries a setting of another release; the tool says "Finished Command" where it failed, too.
TRIED = """INFO: [HLS 200-1510] Running: config_array_partition -maximum_size 4096
ERROR: [HLS 200-642] The 'config_array_partition -maximum_size' command is not supported.
INFO: [HLS 200-1510] Running: csynth_design
"""
FINISHED = "INFO: [HLS 200-111] Finished Command csynth_design CPU user time: 4 seconds.\n"


@pytest.mark.parametrize(
    "end",
    [
        FINISHED,
        "INFO: [HLS 200-789] **** Estimated Fmax: 229.83 MHz\n",
        "INFO: [VLOG 209-307] Generating Verilog RTL for tagger.\n",
    ],
)
def test_a_setting_that_was_tried_is_no_failure_of_a_script_of_ones_own(end: str) -> None:
    assert classify(TRIED + end) is None
    failure = classify(TRIED + end + "INFO: [HLS 200-1510] Running: cosim_design\nERROR: [COSIM 212-4] FAIL\n")
    assert failure is not None
    assert (failure.kind, failure.line) == ("simulation", 6)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ERROR: [HLS 200-1715] Encountered problem during source synthesis", "unknown"),
        ("ERROR: [HLS 214-274] Cannot apply the pragma", "source"),
    ],
)
def test_a_synthesis_that_finished_with_an_error_failed_and_the_setting_is_not_the_cause(error: str, kind: str) -> None:
    failure = classify(f"{TRIED}{error}\n{FINISHED}Pre-synthesis failed.\n", exit_code=1)
    assert failure is not None
    assert (failure.kind, failure.message, failure.line) == (kind, error, 4)
    went_on = classify(f"{TRIED}{error}\n{FINISHED}INFO: [HLS 200-1510] Running: close_project\n")
    assert went_on is not None
    assert went_on.message == error


def test_the_last_error_of_a_setting_is_the_cause_where_nothing_came_after_it() -> None:
    failure = classify(TRIED[: TRIED.index("INFO: [HLS 200-1510] Running: csynth")])
    assert failure is not None
    assert failure.line == 2


def test_the_log_of_a_solution_says_the_release() -> None:
    head = "=" * 62 + "\nVitis HLS - High-Level Synthesis from C, C++ and OpenCL v2023.2 (64-bit)\n"
    failure = classify(head + "ERROR: no\n")
    assert failure is not None
    assert (failure.tool, failure.version) == ("vitis", "2023.2")


def test_a_code_without_a_word_is_a_failure_too() -> None:
    failure = classify("", exit_code=2)
    assert failure is not None
    assert (failure.kind, failure.message, failure.exit_code) == ("unknown", "it printed nothing", 2)


def test_lines_without_end_take_no_time() -> None:
    assert classify("more " * 2_000_000 + "synth_design " * 100_000) is None
    started = time.process_time()
    for lines in ("a\n" * 2_000_000, ("more " * 400 + "\n") * 2000, ("unroll factor " * 142 + "\n") * 2000):
        assert classify(lines) is None
    assert time.process_time() - started < 15


@pytest.mark.parametrize(
    ("name", "kind", "version", "part", "clock_ns"),
    [
        ("dataflow-XFORM-203-711.log", "dataflow_violation", "2019.1", "xcvu9p-flgb2104-2-i", 5.0),
        ("elaborate-HLS-200-70.log", "elaboration", "2019.1", "xczu19eg-ffvc1760-2-i", 4.0),
    ],
)
def test_logs_of_real_failures(name: str, kind: str, version: str, part: str, clock_ns: float) -> None:
    log = REPORTS / "failed-logs" / name
    failure = classify(log.read_text())
    assert failure is not None
    assert (failure.kind, failure.tool, failure.version) == (kind, "vivado_hls", version)
    assert (failure.part, failure.clock_ns) == (part, clock_ns)
    assert failure.line
    assert failure.message in log.read_text().splitlines()[failure.line - 1]


def test_logs_of_runs_that_succeeded_tell_no_failure() -> None:
    logs = [path for path in REPORTS.rglob("vi*_hls.log") if "failed-logs" not in path.parts]
    assert len(logs) >= 4
    for log in logs:
        assert classify(log.read_text()) is None, log
