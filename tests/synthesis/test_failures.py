from pathlib import Path

import pytest

from hepprune.synthesis.failures import FAILURES, classify

REPORTS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "reports"

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
]


@pytest.mark.parametrize(("line", "kind"), LINES)
def test_each_kind_is_told_by_its_own_line(line: str, kind: str) -> None:
    failure = classify(
        f"INFO: fine\n{line}\nERROR: [HLS 200-70] Pre-synthesis failed.\n" if "WARN" not in line else line
    )
    assert failure is not None
    assert (failure.kind, failure.message) == (kind, line)
    assert failure.cure == FAILURES[kind].cure
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


def test_a_code_without_a_word_is_a_failure_too() -> None:
    failure = classify("", exit_code=2)
    assert failure is not None
    assert (failure.kind, failure.message, failure.exit_code) == ("unknown", "it printed nothing", 2)


def test_lines_without_end_take_no_time() -> None:
    assert classify("more " * 2_000_000 + "synth_design " * 100_000) is None


@pytest.mark.parametrize(
    ("name", "kind", "version", "part", "clock_ns"),
    [
        ("dataflow-XFORM-203-711.log", "dataflow_violation", "2019.1", "xcvu9p-flgb2104-2-i", 5.0),
        ("elaborate-HLS-200-70.log", "elaboration", "2019.1", "xczu19eg-ffvc1760-2-i", 4.0),
    ],
)
def test_logs_of_real_failures(name: str, kind: str, version: str, part: str, clock_ns: float) -> None:
    log = REPORTS / "failed-logs" / name
    if not log.is_file():
        pytest.skip("no reference logs beside this checkout")
    failure = classify(log.read_text())
    assert failure is not None
    assert (failure.kind, failure.tool, failure.version) == (kind, "vivado_hls", version)
    assert (failure.part, failure.clock_ns) == (part, clock_ns)
    assert failure.line
    assert failure.message in log.read_text().splitlines()[failure.line - 1]


def test_logs_of_runs_that_succeeded_tell_no_failure() -> None:
    logs = [path for path in REPORTS.rglob("vi*_hls.log") if "failed-logs" not in path.parts]
    if not logs:
        pytest.skip("no reference logs beside this checkout")
    for log in logs:
        assert classify(log.read_text()) is None, log
