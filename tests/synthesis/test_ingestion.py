"""What `hepprune ingest` and `hepprune synth` do, on public reports and with substitutes of the tools."""

import json
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hepprune import cli, executors, synthesis
from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from hepprune.jobs import farm, ingestion
from hepprune.synthesis.ledger import Ledger
from tests.fuzz.seeds import CSYNTH
from tests.reference import REPORTS

JET_MLP = REPORTS / "jet-mlp-2022.2" / "hls4ml_prj"
DEEPSETS = REPORTS / "l1-jet-id-deepsets-4bit" / "kfold_0" / "synthesis_final"
PARAMETERS = (
    "// fc1\nstruct config2 : nnet::dense_config {\n};\n// relu1\nstruct relu_config4 : nnet::activ_config {\n};\n"
)
SETTINGS = 'set project_name "myproject"\nset part "xcvu13p-flga2577-2-e"\nset clock_period 5.0\n'
FIGURES = Resources(lut=116694, ff=24233, dsp=2557, bram18=8, uram=0)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as it comes back from another machine: its sources, and what HLS made of them."""
    folder = tmp_path / "project"
    shutil.copytree(JET_MLP, folder, copy_function=shutil.copyfile)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    (folder / "firmware").mkdir()
    (folder / "firmware" / "parameters.h").write_text(PARAMETERS)
    return folder


def test_reports_of_one_project_are_one_measurement_with_named_layers(project: Path, tmp_path: Path) -> None:
    """Four reports, of XML, text and tree, tell the same; ingesting twice, or from a tarball, adds nothing."""
    ledger = tmp_path / "ledger.sqlite"
    (found,) = ingestion.ingest(project, ledger=ledger).designs
    (measured,) = found.measurements
    assert (found.top, found.failures) == ("myproject", ())
    assert (measured.resources, measured.latency_cycles, measured.clock) == (FIGURES, 15, "met")
    assert {each.layer for each in measured.layers} >= {"fc1", "relu1", "config5"}
    with tarfile.open(tmp_path / "ci.tar.gz", "w:gz") as archive:
        archive.add(project, "build/job")
    (again,) = ingestion.ingest(tmp_path / "ci.tar.gz", ledger=ledger).designs
    assert again.key == found.key
    with Ledger(ledger) as book:
        (design,) = book.designs()
        assert (design.measurements, design.failures) == (1, 0)
        assert book.measurement(found.key, stage="csynth") == measured


def test_layers_have_the_users_names_again(project: Path) -> None:
    """The project calls things otherwise where C++ could not bear their names, and has a table of it."""
    table = {"top": {"int": "myproject"}, "layers": {"class.typed": "fc1", "signal": "relu1"}}
    (project / "hepprune_names.json").write_text(json.dumps(table))
    (found,) = ingestion.ingest(project).designs
    assert found.top == "int"
    assert {each.layer for each in found.measurements[0].layers} >= {"class", "signal", "config5"}
    (project / "hepprune_names.json").write_text(json.dumps(table | {"layers": 3}))
    (unnamed,) = ingestion.ingest(project).designs
    assert unnamed.top == "myproject"


def test_a_module_whose_name_was_cut_is_the_layer_that_is_left_over(tmp_path: Path) -> None:
    """Vivado HLS 2020.1 called the first dense layer of a public DeepSets tagger dense_latency_0_0_0_... ."""
    report = DEEPSETS / "myproject_prj" / "solution1" / "solution1_data.json"
    layers = {13: ("rho", "dense"), 16: ("logits", "dense"), 19: ("phi1", "conv1d"), 15: ("relu", "activ")}
    declared = "".join(f"// {name}\nstruct config{n} : nnet::{kind}_config {{\n" for n, (name, kind) in layers.items())
    with zipfile.ZipFile(tmp_path / "artefact.zip", "w") as archive:
        archive.write(report, "job/p_prj/solution1/solution1_data.json")
        archive.writestr("job/firmware/parameters.h", declared)
    (found,) = ingestion.ingest(tmp_path / "artefact.zip").designs
    (measured,) = found.measurements
    named = {each.layer: each for each in measured.layers}
    assert named["rho"].module.startswith("dense_latency_0_0_0")
    assert named["logits"].resources.dsp == 66
    assert found.unexplained == (Resources(lut=69147, ff=11358, dsp=0, bram18=0, uram=0),)


def test_a_measurement_goes_to_the_design_that_was_exported(project: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with Ledger(ledger) as book:
        book.record("abcdef", description="exported yesterday")
    ingestion.ingest(project, ledger=ledger, design="abc")
    with Ledger(ledger) as book:
        assert book.measurement("abcdef", stage="csynth") is not None
        assert len(book.designs()) == 1
    with pytest.raises(ReportError, match="no design whose key begins with 'x'"):
        ingestion.ingest(project, ledger=ledger, design="x")


def test_reports_that_contradict_each_other_are_both_kept(project: Path) -> None:
    report = next(project.rglob("myproject_csynth.xml"))
    report.write_text(report.read_text().replace("<LUT>116694</LUT>", "<LUT>99</LUT>"))
    (found,) = ingestion.ingest(project).designs
    assert {each.resources.lut for each in found.measurements} == {116694, 99}


CAUGHT = """INFO: [HLS 200-1510] Running: set_top tagger
INFO: [HLS 200-1510] Running: config_array_partition -maximum_size 4096
ERROR: [HLS 200-642] The 'config_array_partition -maximum_size' command is not supported.
INFO: [HLS 200-1510] Running: csynth_design
"""
FINISHED = "INFO: [HLS 200-111] Finished Command csynth_design CPU user time: 27.71 seconds.\n"
BANNER = "Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v2023.2 (64-bit)\n"


@pytest.mark.parametrize("with_report", [True, False])
def test_the_log_of_a_solution_is_no_design_and_tells_a_failure_once(tmp_path: Path, *, with_report: bool) -> None:
    solution = tmp_path / "hls" / "tagger_prj" / "solution1"
    (solution / "syn" / "report").mkdir(parents=True)
    if with_report:
        (solution / "syn" / "report" / "tagger_csynth.xml").write_text(CSYNTH.replace("myproject", "tagger"))
    for end, kinds in ((FINISHED, []), ("ERROR: [HLS 214-274] no\n" + FINISHED, ["source"])):
        (solution / "solution1.log").write_text("=" * 62 + "\n" + BANNER + CAUGHT + end)
        (tmp_path / "hls" / "vitis_hls.log").write_text("\n****** " + BANNER + CAUGHT + end)
        found = ingestion.ingest(tmp_path).designs
        assert [each.top for each in found] == (["tagger"] if with_report or kinds else [])
        assert [failure.kind for each in found for failure in each.failures] == kinds


def test_everything_public_is_found() -> None:
    """12 runs: their stages, and which of them failed."""
    found = ingestion.ingest(REPORTS)
    assert found.refused == ()
    stages = {
        (each.project.split("/")[1], each.top): "+".join(sorted({measured.stage for measured in each.measurements}))
        for each in found.designs
        if "hls4ml-test-reports" not in each.project
    }
    both = "cosim+csynth+vsynth"
    assert stages == {
        ("conv-2018.3", "myproject"): "csynth",
        ("failed-logs", "dataflow-XFORM-203-711"): "",
        ("failed-logs", "elaborate-HLS-200-70"): "",
        ("jet-mlp-2022.2", "myproject"): "csynth",
        **{(f"jet1layer-2016.4-reuse{n}", "myproject"): "csynth" for n in (1, 2, 4)},
        ("l1-jet-id-deepsets-4bit", "myproject"): both,
        ("l1-jet-id-deepsets-6bit", "myproject"): both,
        ("l1-jet-id-deepsets-8bit", "myproject"): "csynth",
        ("mnist-cnn-stream-2020.1", "myproject"): "csynth",
        ("mnist-cnn-stream-2020.1", "myproject_axi"): "csynth",
    }
    kinds = [failure.kind for each in found.designs for failure in each.failures]
    assert sorted(kinds) == ["dataflow_violation", "elaboration", "simulation"]
    (four,) = (each for each in found.designs if "4bit" in each.project)
    (logic,) = (each for each in four.measurements if each.stage == "vsynth")
    assert (logic.resources.lut, logic.latency_cycles, logic.clock_ns) == (235359, 19, 5.0)


def hepprune(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [*map(str, arguments)], env={"COLUMNS": "140", "NO_COLOR": "1"})


def test_the_commands(project: Path, tmp_path: Path) -> None:
    ledger, other = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    shown = hepprune("ingest", project, "--ledger", ledger)
    assert shown.exit_code == 0, shown.stderr
    assert "116,694" in shown.stdout
    assert "fc1 dense_latency" in shown.stdout
    (design,) = json.loads(hepprune("ingest", project, "--ledger", other, "--json").stdout)["designs"]
    assert design["measurements"][0]["resources"]["lut"] == FIGURES.lut
    assert "0 new values" in hepprune("ledger", "merge", ledger, other).stdout
    (listed,) = json.loads(hepprune("ledger", "list", ledger, "--json").stdout)
    assert (listed["key"], listed["measurements"]) == (design["key"], 1)
    assert "116,694" in hepprune("ledger", "show", ledger, design["key"][:6]).stdout
    assert "1 rows" in hepprune("ledger", "export", ledger, "-o", tmp_path / "t.csv").stdout
    empty = hepprune("ingest", tmp_path / "t.csv")
    assert empty.exit_code == 1
    assert "no report or log" in empty.stderr


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Substitutes that leave the file trees of recorded runs; `calls` counts how often each was run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "cp", "mkdir", "cat", "grep", "echo", "sleep", "chmod"):
        (folder / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(folder))
    calls = f'echo "$0" >> {tmp_path}/calls\n'
    stand_in(
        folder,
        "vitis-run",
        f'[ "$1" = --version ] && {{ echo "Vitis v2024.2"; exit; }}\n{calls}cp -r {DEEPSETS}/myproject_prj .\nchmod -R u+w .',
    )
    stand_in(
        folder,
        "vivado",
        f'[ "$1" = -version ] && {{ echo "Vivado v2024.2"; exit; }}\n{calls}[ -e {tmp_path}/broken ] && {{ echo "ERROR: [Common 17-345] A valid license was not found"; exit 7; }}\ncp {DEEPSETS}/vivado_synth.rpt .',
    )
    return tmp_path


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def hls_project(folder: Path) -> Path:
    (folder / "firmware").mkdir(parents=True)
    (folder / "firmware" / "myproject.cpp").write_text(folder.name)
    (folder / "build_prj.tcl").write_text("# hls4ml's own\n")
    (folder / "project.tcl").write_text(SETTINGS)
    return folder


@pytest.mark.slow
def test_several_projects_run_at_once_and_only_the_step_that_failed_runs_again(tools: Path) -> None:
    projects = [hls_project(tools / name) for name in ("one", "two")]
    ledger = tools / "ledger.sqlite"
    (tools / "broken").touch()
    with executors.open("threads:2") as pool:
        failed = farm.synthesise(projects, executor=pool, ledger=ledger)
    assert [run.failure and (run.failure.kind, run.failure.exit_code) for run in failed] == [("no_licence", 7)] * 2
    (tools / "broken").unlink()
    with executors.open("processes:2") as pool:
        done = farm.synthesise(projects, executor=pool, ledger=ledger)
    assert all(isinstance(run.measurement, Measurement) and not run.resumed for run in done)
    assert done[0].measurement is not None
    assert done[0].measurement.resources.lut == 235359
    assert done[0].measurement.latency_cycles == 19
    calls = [Path(line).name for line in (tools / "calls").read_text().split()]
    assert (calls.count("vitis-run"), calls.count("vivado")) == (2, 4)
    again = farm.synthesise(projects, ledger=ledger)
    assert [run.resumed for run in again] == [True, True]
    assert [run.measurement for run in again] == [run.measurement for run in done]
    with Ledger(ledger) as book:
        assert [(each.measurements, each.failures) for each in book.designs()] == [(1, 1), (1, 1)]
    (projects[0] / "firmware" / "myproject.cpp").write_text("changed")
    assert [run.resumed for run in farm.synthesise(projects)] == [False, True]


def test_a_folder_that_is_no_project_is_named(tools: Path) -> None:
    with pytest.raises(ReportError, match="is not a project: expected build_prj.tcl"):
        farm.synthesise([tools])
    hls_project(tools / "hls")
    with pytest.raises(ReportError, match="run C synthesis first"):
        farm.synthesise([tools / "hls"], tool="vivado")
    (tools / "hls" / "project.tcl").write_text(SETTINGS.replace('"myproject"', '"my[exit]"'))
    with pytest.raises(ReportError, match="does not set project_name"):
        farm.synthesise([tools / "hls"])


def test_verilog_that_was_moved_is_found_and_what_lies_outside_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool sees the moved sources, with part and clock of the note beside them."""
    folder, seen = tmp_path / "moved", list[synthesis.Job]()
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "top.v").write_text("module top; endmodule\n")
    described = {
        "folder": "/old",
        "top": "top",
        "latency_cycles": 4,
        "interval_cycles": 1,
        "sources": ["/old/src/top.v"],
        "part": "xcvu9p-flga2104-2L-e",
        "clock_ns": 2.5,
    }
    (folder / "hepprune.json").write_text(json.dumps(["key", described]))
    measured = Measurement(
        stage="yosys",
        tool="yosys",
        version="1",
        part="p",
        clock_ns=2.5,
        resources=Resources(lut=1),
        latency_cycles=4,
        interval_cycles=1,
    )
    tool = replace(synthesis.choose("yosys"), run=lambda job: (seen.append(job), measured)[1])
    monkeypatch.setitem(synthesis.SYNTHESIS_TOOLS, "yosys", tool)
    assert farm.synthesise([folder], tool="yosys")[0].measurement == measured
    assert seen[0].sources == (folder / "src" / "top.v",)
    assert (seen[0].part, seen[0].clock_ns, seen[0].latency_cycles) == ("xcvu9p-flga2104-2L-e", 2.5, 4)
    for outside in ("/etc/passwd", "/old/../etc/passwd"):
        (folder / "hepprune.json").write_text(json.dumps(["key", described | {"sources": [outside]}]))
        with pytest.raises(ReportError, match="lies outside"):
            farm.synthesise([folder], tool="yosys")


def test_names_of_strangers_are_no_markup_on_the_screen(tmp_path: Path) -> None:
    """Rich would raise on a closing tag that was never opened, and obey those that it knows."""
    folder = tmp_path / "in"
    (folder / "[red]p[/blue]:smile:").mkdir(parents=True)
    (folder / "[red]p[/blue]:smile:" / "run.log").write_text("ERROR: [/bold] [link=http://x]no[/link] \x1b[2Jlicence\n")
    ledger = tmp_path / "l.sqlite"
    shown = hepprune("ingest", folder, "--ledger", ledger)
    assert shown.exit_code == 0, shown.output
    assert "[red]p[/blue]:smile:" in shown.stdout
    assert "[/bold] [link=http://x]no[/link]" in shown.stdout
    assert "\x1b" not in shown.stdout
    (listed,) = json.loads(hepprune("ledger", "list", ledger, "--json").stdout)
    assert "[red]p[/blue]:smile:" in hepprune("ledger", "list", ledger).stdout
    assert hepprune("ledger", "show", ledger, listed["key"]).exit_code == 0
    refused = hepprune("ingest", tmp_path / "[/green]")
    assert refused.exit_code == 1
    assert "'[/green]'" in refused.stderr.replace(f"{tmp_path}/", "")
