"""What other groups take of a run: an emulator beside another of the same layer names, and Verilog with its scripts."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hepprune import synthesis
from hepprune.cli import app
from hepprune.errors import HeppruneError, ToolMissingError
from hepprune.files import stored
from hepprune.firmware import emulator as emulators
from hepprune.firmware import rtl, scales
from hepprune.firmware.verilog import patterns
from hepprune.fixed import FixedPoint
from hepprune.fixed import interface as interfaces
from hepprune.fixed.interface import Feature, InputPort, Interface, OutputPort, shift
from hepprune.jobs import exports, farm, ingestion
from hepprune.network import Dense, Input, Network, ReLU, Softmax, exact_raw, save

KIND, WIDE = FixedPoint(8, 3, True, "RND", "SAT"), FixedPoint(16, 6)
PATTERNS = ("patterns/inputs.hex", "patterns/outputs.hex")
PART = "xcvu13p-flga2577-2-e"


def tagger(seed: int) -> Network:
    """Return a small network; those of other seeds have the same layers' names and other weights."""
    generator = torch.Generator().manual_seed(seed)

    def dense(name: str, n_in: int, n_out: int) -> Dense:
        weight, bias = torch.randn(n_out, n_in, generator=generator), torch.randn(n_out, generator=generator)
        return Dense(name, weight, bias, weight_type=FixedPoint(6, 2), bias_type=KIND, result=WIDE)

    middle = ReLU("relu", FixedPoint(7, 3, False, "RND", "SAT"))
    return Network([Input("x", 4, KIND), dense("fc1", 4, 6), middle, dense("fc2", 6, 3), Softmax("softmax")])


def finished(build: Path, seed: int, *, scale: float) -> Network:
    """Leave in a folder what a run leaves of a network; the scaler is one of shifts where the scale is a power of two."""
    network, generator = tagger(seed), np.random.default_rng(seed)
    solution = rtl.solve(network)
    design = rtl.write_verilog(
        solution, build / "verilog/one", name="small_rtl", levels_per_cycle=3, part=PART, clock_ns=5.0
    )
    stored.note(rtl.Design, design.folder / "hepprune.json", "key", design)
    names = ["pt (GeV)", "eta", "phi", "mass"]
    arriving, leaving = patterns.layout(design, inputs=names, outputs=["g", "q", "t"])
    own = [word.model_copy(update={"type": str(KIND)}) for word in arriving]
    described = Interface(
        name="small",
        top=design.top,
        verilog="verilog/one",
        clock_ns=5.0,
        latency_cycles=design.latency_cycles,
        interval_cycles=1,
        inputs=(
            InputPort(
                name="x",
                shape=(4,),
                features=tuple(Feature(name=n, offset=scale, scale=scale, shift=shift(scale, scale)) for n in names),
                words=tuple(own),
            ),
        ),
        outputs=(OutputPort(name="softmax", shape=(3,), meaning="class logits", words=tuple(leaving)),),
    )
    interfaces.write(described, build / "scaler.json")
    (build / "scales.h").write_text(scales.header(described))
    x = KIND(generator.normal(0, 2, (50, 4)))
    (expected,) = exact_raw(network, [x.astype(np.float32)])
    patterns.write(build / "patterns", described, inputs=x, outputs=expected)
    save(network, build / "network.npz")
    return network


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for seed, scale in ((1, 0.37), (2, 4.0)):
        finished(folder / str(seed), seed, scale=scale)
    return [folder / "1", folder / "2"]


@pytest.mark.slow
def test_two_emulators_of_the_same_layers_run_beside_one_another_bit_for_bit(
    builds: list[Path], tmp_path: Path
) -> None:
    for build, name in zip(builds, ("first", "check"), strict=True):  # the second is called as a target of make
        done = CliRunner().invoke(app, ["export", str(build), "--emulator", name, "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        subprocess.run(["make", "-s", "all"], cwd=tmp_path / name, check=True)
        assert "ofstream" not in (tmp_path / name / f"{name}.cc").read_text()
    # The vectors are of raw features; what is expected of them is the network's own.
    for build, seed, name in zip(builds, (1, 2), ("first", "check"), strict=True):
        lines = (tmp_path / name / "vectors.txt").read_text().splitlines()
        assert lines[0].split() == ["50", "4", "3"]
        rows = np.array([line.split() for line in lines[1:]], dtype=np.float64)
        port = interfaces.read(build / "scaler.json").inputs[0]
        offset, scale = (np.array([getattr(each, key) for each in port.features]) for key in ("offset", "scale"))
        scaled = ((rows[:, :4].astype(np.float32).astype(np.float64) - offset) / scale).astype(np.float32)
        assert np.array_equal(exact_raw(tagger(seed), [scaled])[0], rows[:, 4:])
        assert np.unique(rows[:, 4:], axis=0).shape[0] > 20
    flags = ["g++", "-std=c++17", "check-models.cc", "-o", "both", "-ldl"]
    subprocess.run(flags, cwd=tmp_path / "first", check=True)
    given = ["./both", "./first.so", "vectors.txt", "../check/check.so", "../check/vectors.txt"]
    said = subprocess.run(given, cwd=tmp_path / "first", capture_output=True, text=True, check=False)
    assert said.stdout.splitlines() == [
        "./first.so: 50 jets, 0 values differ",
        "../check/check.so: 50 jets, 0 values differ",
    ]
    crossed = [*given[:3], given[3], "vectors.txt"]  # the other model's vectors: the check can fail
    assert subprocess.run(crossed, cwd=tmp_path / "first", capture_output=True, check=False).returncode == 1
    named = ["nm", "-DC", "--defined-only", "first.so"]
    symbols = subprocess.run(named, cwd=tmp_path / "first", capture_output=True, text=True, check=True)
    shown = {line.split()[-1] for line in symbols.stdout.splitlines()}
    assert {"create_model", "destroy_model"} <= shown
    assert not [name for name in shown if "nnet" in name or "fc1" in name]


def test_verilog_comes_with_patterns_an_entity_and_scripts(builds: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "firmware"
    done = CliRunner().invoke(app, ["export", str(builds[0]), "--verilog", "--vhdl-wrapper", "tagger", "-o", str(out)])
    assert done.exit_code == 0, done.output
    verilog = (out / "src/small_rtl.v").read_text()
    ports = {name: int(high) for high, name in re.findall(r"\[(\d+)(?:-1)?:0\] *(model_\w+)", verilog)}
    text = (out / "tagger.vhd").read_text()
    entity = text[text.index("entity tagger") : text.index("end entity")]
    interface = interfaces.read(out / "scaler.json")
    for name, words in (("model_inp", interface.input_words), ("model_out", interface.output_words)):
        width = sum(word.width for word in words)
        assert f"{name} : {'in' if name == 'model_inp' else 'out'} std_logic_vector({width - 1} downto 0)" in entity
        assert ports[name] in (width, width - 1)
    assert "network : small_rtl port map" in text
    assert len(re.findall(r"subtype \w+ is natural range \d+ downto \d+;", text)) == 7
    assert len((out / "patterns/inputs.hex").read_text().splitlines()) == 50
    script = (out / "vivado.tcl").read_text()
    named = re.findall(r"src/\S+\.v", script)
    assert named
    assert all((out / file.rstrip("}")).is_file() for file in named)
    assert "create_clock -period 5 " in script
    assert subprocess.run(["sh", "-n", out / "run_vivado.sh"], check=False).returncode == 0
    if shutil.which("vivado") is None:
        refused = subprocess.run([out / "run_vivado.sh"], capture_output=True, text=True, check=False)
        assert refused.returncode == ToolMissingError.exit_code == 3
        assert "vivado is not on PATH" in refused.stderr


def test_what_the_script_leaves_is_ingested_with_the_cycles_of_the_design(builds: list[Path], tmp_path: Path) -> None:
    out = exports.verilog(builds[0], tmp_path / "firmware")
    _, design = json.loads((out / "hepprune.json").read_text())
    report = REPORT.replace("TOP", design["top"]).replace("PART", "xcvu13p-flga2577-2-e")
    (out / "vivado_synth.rpt").write_text(report)
    (found,) = ingestion.ingest(out).designs
    (measured,) = found.measurements
    assert (measured.stage, measured.resources.lut) == ("vsynth", 123)
    assert measured.latency_cycles == design["latency_cycles"]
    assert measured.clock_ns == 5.0


REPORT = """\
Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
| Tool Version : Vivado v.2023.1 (lin64) Build 3865809 Sun May  7 15:04:56 MDT 2023
| Command      : report_utilization -file vivado_synth.rpt
| Design       : TOP
| Device       : PART
| Speed File   : -2
| Design State : Synthesized

1. CLB Logic
------------

+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| CLB LUTs*                  |   123 |     0 |          0 |   1728000 |  0.01 |
| CLB Registers              |   456 |     0 |          0 |   3456000 |  0.01 |
| Block RAM Tile             |     0 |     0 |          0 |      2688 |  0.00 |
| DSPs                       |     0 |     0 |          0 |     12288 |  0.00 |
| URAM                       |     0 |     0 |          0 |      1280 |  0.00 |
+----------------------------+-------+-------+------------+-----------+-------+
"""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "either --emulator NAME or --verilog"),
        (["--emulator", "a", "--verilog"], "either --emulator NAME or --verilog"),
        (["--emulator", "a", "--vhdl-wrapper", "b"], "--vhdl-wrapper goes with --verilog"),
        (["--emulator", "2 b"], "'2 b' names no emulator"),
        (["--emulator", Path(emulators.CHECKER).stem], "names no emulator"),
        (["--verilog", "--vhdl-wrapper", "Small_RTL"], "needs another name than the Verilog module"),
        (["--verilog", "--vhdl-wrapper", "a b"], "'a b' is not a firmware name"),
        (["--verilog", "--vhdl-wrapper", "signal"], "'signal' is a word that VHDL or the tools keep"),
        (["--verilog", "--vhdl-wrapper", "shift_adder"], "needs another name than the Verilog module 'shift_adder'"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_sentence_and_nothing_is_written(
    builds: list[Path], tmp_path: Path, given: list[str], said: str
) -> None:
    done = CliRunner().invoke(app, ["export", str(builds[0]), "-o", str(tmp_path / "out"), *given])
    assert done.exit_code == 1
    assert said in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path), "--verilog", "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "holds no finished run" in " ".join(done.output.split())


def exported(build: Path, out: str | Path, *more: str) -> tuple[int, str]:
    """Return the exit code of an export of Verilog and what it says, on one line."""
    done = CliRunner().invoke(app, ["export", str(build), "--verilog", "-o", str(out), *more])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def copy(builds: list[Path], tmp_path: Path) -> Path:
    """Return a copy of a run, to be damaged."""
    return Path(shutil.copytree(builds[0], tmp_path / "runs/1"))


@pytest.mark.parametrize("out", [".", "..", "../..", "new", "patterns", "../link", "../link/new", "../1"])
def test_a_run_is_never_replaced_by_what_is_exported_of_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (copy.parent / "link").symlink_to(copy)
    kept = sorted(copy.rglob("*"))
    monkeypatch.chdir(copy)
    assert exported(copy, out)[0] == 1
    assert "above it or inside it" in exported(copy, out)[1]
    assert exported(Path(), out)[0] == 1
    assert sorted(copy.rglob("*")) == kept


def test_only_what_is_empty_or_an_export_is_replaced(builds: list[Path], tmp_path: Path) -> None:
    file, others, own = tmp_path / "file", tmp_path / "others", tmp_path / "own"
    file.write_text("kept")
    others.mkdir()
    (others / "thesis.tex").write_text("kept")
    own.mkdir()
    for out, said in ((file, "is a file"), (others, "holds what no export wrote"), (file / "below", "failed")):
        code, sentence = exported(builds[0], out)
        assert (code, said in sentence) == (1, True)
    assert file.read_text() == (others / "thesis.tex").read_text() == "kept"
    assert exported(builds[0], own)[0] == 0
    (own / "vivado_synth.rpt").touch()
    assert exported(builds[1], own)[0] == 0
    assert not (own / "vivado_synth.rpt").exists()
    assert sorted(tmp_path.iterdir()) == [file, others, own]


def test_a_folder_that_cannot_be_replaced_stays_and_is_one_sentence(
    builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, sentence = exported(builds[0], ".")
    assert (code, "the export to '.' failed" in sentence) == (1, True)
    assert exported(builds[0], "x" * 300)[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    gone, new = tmp_path / "scales.h", tmp_path / "new"
    said = f"the export to '{new}' failed: .*'{gone}'"
    with (
        pytest.raises(HeppruneError, match=said),
        exports.marked(new, build=tmp_path / "build", what="verilog") as made,
    ):
        shutil.copy(gone, made)
    assert list(tmp_path.iterdir()) == []


def edited(file: Path, **values: object) -> None:
    """Change values of a design's note or of a scaler.json."""
    content = json.loads(file.read_text())
    (content[1] if isinstance(content, list) else content).update(values)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"part": 'x"; touch PWNED; "'}, "is not an FPGA part"),
        ({"part": "[exec touch PWNED]"}, "is not an FPGA part"),
        ({"top": "a;b"}, "and not 'small_rtl' of scaler.json"),
        ({"clock_ns": 0.0}, "is not between 0.1 and 1000 ns"),
        ({"sources": ["/etc/passwd"]}, "lies outside its design's folder"),
        ({"folder": "/old", "sources": ["/old/src/../../../../b.v"]}, "lies outside its design's folder"),
        ({"folder": "/old", "sources": ["/old/src/[exec id].v"]}, "has a name that no script can quote"),
        ({"folder": "/old", "sources": ["/old/src/a} b.v"]}, "has a name that no script can quote"),
        ({"folder": "/old", "sources": ["/old"]}, "has a name that no script can quote"),
        ({"folder": "/old", "sources": ["/old/src/missing.v"]}, "the source 'src/missing.v' is not in"),
        ({"folder": "/old", "sources": ["/old/src/linked.v"]}, "the source 'src/linked.v' is not in"),
    ],
)
def test_names_of_a_received_design_reach_no_script(
    copy: Path, tmp_path: Path, values: dict[str, object], said: str
) -> None:
    (copy / "verilog/one/src/linked.v").symlink_to("/etc/passwd")
    edited(copy / "verilog/one/hepprune.json", **values)
    code, sentence = exported(copy, tmp_path / "out")
    assert (code, said in sentence) == (1, True), sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["../2/verilog/one", ".", "", "/etc", "verilog/../../2", "a\0b", "linked/one"])
def test_the_verilog_of_a_run_is_inside_of_it(copy: Path, builds: list[Path], tmp_path: Path, place: str) -> None:
    (copy / "linked").symlink_to(builds[0] / "verilog")
    edited(copy / "scaler.json", verilog=place)
    code, sentence = exported(copy, tmp_path / "out")
    assert (code, "outside of the run" in sentence) == (1, True), sentence


def test_a_run_that_was_moved_is_exported(copy: Path, tmp_path: Path) -> None:
    assert exported(copy.rename(tmp_path / "moved"), tmp_path / "out")[0] == 0
    assert "src/small_rtl.v" in (tmp_path / "out/vivado.tcl").read_text()


def test_tcl_runs_every_command_of_the_script(builds: list[Path], tmp_path: Path) -> None:
    """Vivado's own commands are unknown to a plain Tcl, which lists them here with their arguments."""
    tcl = pytest.importorskip("tkinter").Tcl()
    out = exports.verilog(builds[0], tmp_path / "firmware")
    tcl.eval("set ran {}; proc unknown args {lappend ::ran [join $args]}")
    tcl.call("cd", str(out))
    home = Path.cwd()
    try:
        for given, part in (((), PART), (("other-part",), "other-part")):
            tcl.call("set", "argv", given)
            tcl.call("set", "argc", len(given))
            tcl.eval("set ran {}; source vivado.tcl")
            ran = tcl.splitlist(tcl.getvar("ran"))
            assert ran[0].split()[:3] == ["read_verilog", "-sv", "src/small_rtl.v"]
            assert f"-top small_rtl -part {part}" in ran[2]
            assert ran[-1] == "write_checkpoint -force small_rtl.dcp"
            assert len(ran) == 10
    finally:
        tcl.call("cd", str(home))
    assert (out / "clock.xdc").read_text() == "create_clock -period 5 -name clk [get_ports clk]\n"


def test_what_is_handed_over_knows_nothing_of_this_machine(builds: list[Path], tmp_path: Path) -> None:
    out = exports.verilog(builds[0], tmp_path / "firmware")
    files = [file for file in out.rglob("*") if file.is_file()]
    assert not [file for file in files if str(builds[0].parent) in file.read_text()]
    assert not [file for file in files if "sim" in file.parts or file.name == "build_vivado_prj.tcl"]
    _, design = stored.read(tuple[str, rtl.Design], out / "hepprune.json")
    assert design.folder == Path()
    assert design.sources[0] == Path("src/small_rtl.v")
    assert all((out / source).is_file() for source in design.sources)
    job = farm._job(out, synthesis.choose("yosys"), farm.ToolLimits())
    assert job.sources == tuple(out / source for source in design.sources)


@pytest.mark.parametrize("content", [None, ""])
@pytest.mark.parametrize(
    ("kind", "file"),
    [
        *(("--verilog", file) for file in ("scaler.json", "scales.h", *PATTERNS, "verilog/one/hepprune.json")),
        *(("--emulator=tagger", file) for file in ("scaler.json", "network.npz", *PATTERNS)),
    ],
)
def test_an_incomplete_run_is_refused_in_one_sentence(
    copy: Path, tmp_path: Path, kind: str, file: str, content: str | None
) -> None:
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_text(content)
    done = CliRunner().invoke(app, ["export", str(copy), kind, "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 1
    assert Path(file).name in done.output
    assert not (tmp_path / "out").exists()


def test_a_network_of_another_run_is_refused(copy: Path, tmp_path: Path) -> None:
    save(Network([Input("x", 3, KIND)]), copy / "network.npz")
    done = CliRunner().invoke(app, ["export", str(copy), "--emulator", "tagger", "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "takes other inputs than scaler.json says" in " ".join(done.output.split())


@pytest.mark.parametrize("content", ["\n \n", "zz\n", "größe", "0\n"])
def test_patterns_that_are_none_are_refused(copy: Path, tmp_path: Path, content: str) -> None:
    (copy / "patterns/inputs.hex").write_text(content)
    code, sentence = exported(copy, tmp_path / "out")
    assert (code, "patterns" in sentence) == (1, True)
