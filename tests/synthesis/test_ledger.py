import csv
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hepprune.errors import PrerequisiteError, ReportError
from hepprune.hardware.resources import Estimate, LayerEstimate, Measurement, Resources
from hepprune.synthesis import exchange
from hepprune.synthesis.failures import Failure
from hepprune.synthesis.ledger import MIGRATIONS, Ledger, design_key

ESTIMATE = Estimate(
    stage="yosys",
    strategy="latency",
    resources=Resources(lut=10),
    latency_cycles=3,
    interval_cycles=1,
    clock_ns=5.0,
    layers=(LayerEstimate(layer="fc1", resources=Resources(lut=10), depth=2.0),),
)
MEASUREMENT = Measurement(
    stage="yosys",
    tool="yosys",
    version="0.70",
    part="xcvu13p",
    clock_ns=5.0,
    resources=Resources(lut=9, ff=8, dsp=0, bram18=0),
    latency_cycles=3,
    interval_cycles=1,
)
# Writes designs `<name>-<n>` and tells each number only after the ledger has taken it.
WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
from hepprune.hardware.resources import Estimate, Measurement, Resources
from hepprune.synthesis.ledger import Ledger
path, name, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for n in range(first, last):
    if n % 50 == first % 50:
        ledger = Ledger(path)
    lut = Resources(lut=float(n))
    ledger.record(f"{name}-{n}", Estimate(stage="yosys", strategy="latency", resources=lut,
                  latency_cycles=3, interval_cycles=1, clock_ns=5.0), Measurement(stage="yosys", tool="yosys",
                  version=name, part="part", clock_ns=5.0, resources=lut, latency_cycles=3, interval_cycles=1),
                  description="test")
    print(n, flush=True)
"""

counts = st.none() | st.floats(0, 1e9)
resources = st.builds(Resources, lut=counts, ff=counts, dsp=counts, bram18=counts, uram=counts)
names = st.text(max_size=12).filter(lambda text: text.isprintable())
layer_estimates = st.builds(LayerEstimate, layer=names, resources=resources, depth=st.floats(0, 1e3))
estimates = st.builds(
    Estimate, stage=st.just("yosys"), strategy=names, resources=resources, latency_cycles=st.integers(0, 2**40),
    interval_cycles=st.integers(1, 2**40), clock_ns=st.floats(0.1, 1e3),
    layers=st.lists(layer_estimates, max_size=3).map(tuple),
)  # fmt: skip
cycles = st.none() | st.integers(0, 2**40)
measurements = st.builds(
    Measurement, stage=st.just("yosys"), tool=names, version=names, part=names, clock_ns=st.floats(0.1, 1e3),
    resources=resources, latency_cycles=cycles, interval_cycles=cycles, clock_met=st.none() | st.booleans(),
)  # fmt: skip


@given(estimates, measurements)
def test_json_round_trip(estimate: Estimate, measurement: Measurement) -> None:
    for value in (estimate, measurement):
        adapter = TypeAdapter(type(value))
        assert adapter.validate_json(adapter.dump_json(value)) == value


@given(estimates, measurements)
def test_the_ledger_gives_back_what_it_took(
    tmp_path_factory: pytest.TempPathFactory, estimate: Estimate, measurement: Measurement
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.record("key", estimate, measurement, description="d")
    with Ledger(path) as ledger:
        assert ledger.measurement("key", stage="yosys") == measurement
        assert ledger.pairs("yosys", strategy=estimate.strategy) == [(estimate, measurement)]


def test_a_measurement_is_found_by_design_stage_and_tool(tmp_path: Path) -> None:
    with Ledger(tmp_path / "deep" / "ledger.sqlite") as ledger:
        ledger.record("a", description="{}")
        assert ledger.measurement("a", stage="yosys") is None
        ledger.record("a", MEASUREMENT)
        assert ledger.measurement("a", stage="yosys") == MEASUREMENT
        assert ledger.measurement("a", stage="yosys", tool="yosys") == MEASUREMENT
        assert ledger.measurement("a", stage="yosys", tool="other") is None
        assert ledger.measurement("a", stage="csynth") is None
        assert ledger.measurement("b", stage="yosys") is None
        newer = replace(MEASUREMENT, version="0.71")
        ledger.record("a", newer)
        assert ledger.measurement("a", stage="yosys") == newer


def test_pairs_hold_each_design_once_with_its_last_figures(tmp_path: Path) -> None:
    better = replace(ESTIMATE, latency_cycles=4)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        for key in ("a", "b"):
            ledger.record(key, ESTIMATE, MEASUREMENT, description="d")
            ledger.record(key, ESTIMATE, MEASUREMENT, description="d")
        ledger.record("a", better)
        ledger.record("a", replace(ESTIMATE, stage="csynth"))
        ledger.record("b", replace(MEASUREMENT, stage="vsynth"))
        assert ledger.pairs("yosys") == [(better, MEASUREMENT), (ESTIMATE, MEASUREMENT)]
        assert ledger.pairs("yosys", strategy="resource") == []
        assert ledger.pairs("vsynth") == ledger.pairs("csynth") == []


def test_figures_need_their_design_and_nothing_is_half_recorded(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(ReportError, match="FOREIGN KEY"):
            ledger.record("nowhere", ESTIMATE)
        with pytest.raises(KeyError):
            ledger.record("a", ESTIMATE, object(), description="d")  # type: ignore[arg-type]
        with pytest.raises(ReportError, match="FOREIGN KEY"):
            ledger.record("a", MEASUREMENT)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM measurement", "UPDATE estimate SET value = '{}'", "DELETE FROM design"]
)
def test_nothing_can_be_taken_back(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.record("a", ESTIMATE, MEASUREMENT, description="d")
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_a_key_is_its_content() -> None:
    own = {"strategy": "latency", "part": "xcvu13p", "clock_ns": 5.0, "tool": "yosys 0.70", "pipelining": 5}
    key = design_key("network", **own)  # type: ignore[arg-type]
    assert key == design_key("network", **own)  # type: ignore[arg-type]
    changes = {"strategy": "resource", "part": "xcku115", "clock_ns": 4.0, "tool": "yosys 0.71", "pipelining": 4}
    others = {design_key("network", **(own | {name: value})) for name, value in changes.items()}  # type: ignore[arg-type]
    assert len(others | {key, design_key("another", **own)}) == 7  # type: ignore[arg-type]


@pytest.mark.parametrize("spoil", ["header", "middle", "text"])
def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        for n in range(200):
            ledger.record(f"k{n}", ESTIMATE, replace(MEASUREMENT, version=str(n)), description="d" * 50)
    content = bytearray(path.read_bytes())
    if spoil == "header":
        content[:16] = b"no such database"
    elif spoil == "middle":
        content[len(content) // 4 : len(content) * 3 // 4] = os.urandom(len(content) * 3 // 4 - len(content) // 4)
    else:
        content = bytearray(b"hello" * 1000)
    path.write_bytes(content)
    with pytest.raises(ReportError, match=r"l\.sqlite' is damaged .*move it away"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_newer_version_and_a_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ReportError, match="version 99"):
        Ledger(path)
    with pytest.raises(ReportError, match="cannot be used"):
        Ledger(tmp_path)
    with pytest.raises(ReportError, match="cannot be used"):
        Ledger(path / "below" / "l.sqlite")


def test_a_value_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.record("a", description="d")
        connection = sqlite3.connect(path)
        connection.execute(
            "INSERT INTO measurement (design, stage, tool, value) VALUES ('a', 'yosys', 't', '{\"lut\": 1}')"
        )
        connection.commit()
        connection.close()
        with pytest.raises(ReportError, match="holds no Measurement in"):
            ledger.measurement("a", stage="yosys")


def writer(path: Path, name: str, first: int, last: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WRITER, str(path), name, str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)  # nothing read ahead


def reported(process: "subprocess.Popen[bytes]") -> list[int]:
    """Return the numbers a writer told to the end; a kill may cut the last one short."""
    said = process.communicate(timeout=120)[0].decode()
    return [int(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.slow
def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path, n = tmp_path / "l.sqlite", 300
    writers = [writer(path, name, 0, n) for name in ("one", "two", "three")]  # the file itself is a race too
    assert [reported(process) for process in writers] == [list(range(n))] * 3
    assert [process.returncode for process in writers] == [0] * 3
    with Ledger(path) as ledger:
        pairs = ledger.pairs("yosys")
        assert len(pairs) == 3 * n
        assert {(after.version, after.resources.lut) for _, after in pairs} == {
            (name, float(number)) for name in ("one", "two", "three") for number in range(n)
        }


FAILURE = Failure(kind="no_licence", message="ERROR: no", fix="get one", tool="vivado", exit_code=7)


def test_a_ledger_of_version_1_gets_the_new_tables_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    connection = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    old = json.loads(TypeAdapter(Measurement).dump_json(MEASUREMENT))
    del old["layers"]  # as version 1 wrote it
    connection.execute("INSERT INTO design (key, description) VALUES ('a', 'd')")
    values = ("a", "yosys", "yosys", json.dumps(old))
    connection.execute("INSERT INTO measurement (design, stage, tool, value) VALUES (?, ?, ?, ?)", values)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    with Ledger(path) as ledger:
        assert ledger.measurement("a", stage="yosys") == MEASUREMENT
        ledger.record("a", FAILURE)
    with Ledger(path) as ledger:
        assert [record.value for record in ledger.records("a")] == [MEASUREMENT, FAILURE]


def test_a_failure_recorded_with_a_cure_is_read_with_a_fix(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record("a", FAILURE, description="d")
    with closing(sqlite3.connect(tmp_path / "l.sqlite")) as connection:
        connection.execute("DROP TRIGGER failure_update")  # as an older version wrote it
        connection.execute("""UPDATE failure SET value = replace(value, '"fix"', '"cure"')""")
        connection.commit()
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert [record.value for record in ledger.records("a")] == [FAILURE]


def test_merging_takes_what_is_new_once_and_changes_nothing_there(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.sqlite", tmp_path / "theirs.sqlite"
    for path, names in ((mine, "ab"), (theirs, "bc")):
        with Ledger(path) as ledger:
            for name in names:
                ledger.record(name, ESTIMATE, MEASUREMENT, description="d")
    with Ledger(theirs) as ledger:
        ledger.record("c", FAILURE)
    before = theirs.read_bytes()
    with Ledger(mine) as ledger:
        assert (ledger.merge(theirs), ledger.merge(theirs)) == (3, 0)
        counts = [(each.key, each.estimates, each.measurements, each.failures) for each in ledger.designs()]
        assert counts == [("a", 1, 1, 0), ("b", 1, 1, 0), ("c", 1, 1, 1)]
        for other in ("nowhere", "broken"):
            (tmp_path / "broken").write_bytes(b"x" * 4096)
            with pytest.raises(ReportError):
                ledger.merge(tmp_path / other)
    assert theirs.read_bytes() == before


def test_export_has_a_row_for_each_value(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record("a", ESTIMATE, MEASUREMENT, description="d")
        ledger.record("a", replace(FAILURE, message='quoted, "and"\nbroken'))
    written = exchange.export(tmp_path / "l.sqlite", tmp_path / "t.csv")
    with written.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["stage"], row["lut"], row["failure"]) for row in rows] == [
        ("estimate", "yosys", "10.0", ""),
        ("measurement", "yosys", "9", "") if rows[1]["lut"] == "9" else ("measurement", "yosys", "9.0", ""),
        ("failure", "", "", "no_licence"),
    ]
    assert rows[2]["message"] == 'quoted, "and"\nbroken'
    with pytest.raises(ReportError, match=r"neither a \.csv nor"):
        exchange.export(tmp_path / "l.sqlite", tmp_path / "t.xlsx")


def test_parquet_holds_what_csv_holds_with_types(tmp_path: Path) -> None:
    """Read by awkward, which the jets are read with too; a column without a value keeps its type."""
    import awkward as ak

    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record("a", ESTIMATE, replace(MEASUREMENT, clock_met=True), description="d")
        ledger.record("a", FAILURE)
        expected = list(exchange.rows(ledger.records()))
    written = exchange.export(tmp_path / "l.sqlite", tmp_path / "t.parquet")
    table = ak.from_parquet(written.path)
    assert (written.rows, table.to_list()) == (3, expected)
    types = {name: str(table[name].type.content) for name in ("lut", "latency_cycles", "clock_met", "uram")}
    assert types == {"lut": "?float64", "latency_cycles": "?int64", "clock_met": "?bool", "uram": "?float64"}
    with Ledger(tmp_path / "empty.sqlite"):
        pass
    assert exchange.export(tmp_path / "empty.sqlite", tmp_path / "e.parquet").rows == 0


def test_without_pyarrow_parquet_is_refused_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(tmp_path / "l.sqlite"):
        pass
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'hepprune\[parquet\]'"):
        exchange.export(tmp_path / "l.sqlite", tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()


def test_a_log_cannot_put_formulas_into_a_spreadsheet(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record("a", description="d")
        ledger.record("a", replace(FAILURE, message="=HYPERLINK(1)"))
    exchange.export(tmp_path / "l.sqlite", tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [row["message"] for row in csv.DictReader(file)] == ["'=HYPERLINK(1)"]


# Imports once, then forks two writers at a time again and again, kills each at a random moment, also while the other
# writes or has just died, and looks whether all that either told is there.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis.ledger import Ledger
path, rng, told, turns = Path(sys.argv[1]), random.Random(7), 0, int(sys.argv[2])

def begun(name):
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    with Ledger(path) as ledger:
        for n in range(100_000):
            key = f"{name}-{n}"
            ledger.record(key, description="d")
            ledger.record(key, Measurement(stage="yosys", tool="y", version="1", part="p",
                                      clock_ns=5.0, resources=Resources(lut=float(n))))
            os.write(writer, b"x")

for turn in range(turns):
    writers = {name: begun(name) for name in (f"{turn}a", f"{turn}b")}
    for child, _ in rng.sample(list(writers.values()), 2):
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with Ledger(path) as ledger:  # checks integrity
        designs = ledger.designs()
    for name, (_, reader) in writers.items():
        with os.fdopen(reader, "rb") as said:
            committed = len(said.read())
        found = sum(each.measurements for each in designs if each.key.startswith(f"{name}-"))
        assert committed <= found <= committed + 1, (name, committed, found)
        told += committed
print(told)
"""


@pytest.mark.slow
def test_forty_turns_of_two_killed_writers_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLER, str(tmp_path / "l.sqlite"), "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
