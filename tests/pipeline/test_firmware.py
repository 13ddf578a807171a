"""What a synthesis tool is given of a run's firmware."""

from pathlib import Path

from hepprune import recipe
from hepprune.hardware import targets
from hepprune.network import Network
from hepprune.pipeline import firmware
from hepprune.pipeline.context import Context

DEFAULT = Path(__file__).parents[2] / "hls_projects" / "jet_tagger" / "recipe.yaml"


def test_a_job_names_the_top_of_what_it_builds(tagger: Network, tmp_path: Path) -> None:
    """Verilog and HLS project have tops of their own; `signal` is a word of VHDL."""
    default = recipe.load(DEFAULT)
    named = default.model_copy(update={"name": "signal"})
    context = Context(named, targets.load(default.target), tmp_path / "build")
    verilog, project = (firmware._job(context, tagger, hls_project=hls) for hls in (False, True))
    assert (verilog.top, verilog.hls_project) == ("signal_rtl", None)
    assert project.top == "signal_1"
    assert project.hls_project is not None
    assert 'set project_name "signal_1"' in (project.hls_project / "project.tcl").read_text()
