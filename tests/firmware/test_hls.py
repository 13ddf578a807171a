"""The hls4ml project: g++ compiles it and it computes the network, or it is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.errors import EquivalenceError, NetworkError, PrerequisiteError
from hepprune.firmware import hls
from hepprune.fixed import FixedPoint
from hepprune.network import Activation, BatchNorm, Dense, Input, Network, exact_activations, exact_logits
from tests.firmware.conftest import jets
from tests.firmware.networks import Maker, each, together

PART = "xcvu13p-flga2577-2-e"


def exported(network: Network, folder: Path, **changed: object) -> hls.Project:
    options = {"part": PART, "clock_ns": 5.0, "clock_uncertainty": 0.27, "strategy": "latency", "name": "tagger"}
    return hls.export(network, folder, **(options | changed))  # type: ignore[arg-type]


@pytest.mark.slow
def test_csim_computes_the_logits(small: Network, tmp_path: Path) -> None:
    project = exported(small, tmp_path / "a folder (1)", strategy="distributed_arithmetic")
    hls.compile(project)
    inputs = jets(small, 10_000)
    assert np.array_equal(hls.predict(project, inputs), exact_logits(small, inputs))
    want, got = exact_activations(small, inputs[:100]), hls.trace(project, inputs[:100])
    assert [name for name in want if name in got] == ["fc1", "relu1", "fc2"]
    assert all(np.array_equal(want[name], got[name]) for name in got)


@pytest.mark.slow
def test_csim_computes_a_trigger_sized_network_and_a_small_one(
    small: Network, trigger_sized: Network, tmp_path: Path
) -> None:
    both, inputs = together([small, trigger_sized]), [jets(each, 10_000) for each in (small, trigger_sized)]
    project = exported(both, tmp_path / "hls", strategy="latency")
    hls.compile(project)
    logits = hls.predictions(project, inputs)
    assert np.array_equal(logits["fc2_of_0"], exact_logits(small, inputs[0]))
    assert np.array_equal(logits["fc4_of_1"], exact_logits(trigger_sized, inputs[1]))
    first = [each[:100] for each in inputs]
    want, got = exact_activations(both, first), hls.trace(project, first)
    kernels = [f"{kind}{place}_of_1" for place in (1, 2, 3) for kind in ("fc", "relu")]
    assert {name for name in want if name in got} == {"fc1_of_0", "relu1_of_0", "fc2_of_0", *kernels, "fc4_of_1"}
    assert all(np.array_equal(want[name], got[name]) for name in got)


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
def test_two_quantisers_in_a_row_bring_each_value_into_its_type(tmp_path: Path, again: bool) -> None:  # noqa: FBT001
    """hls4ml would make one of both, whose code does not compile; as in models of HGQ2 whose input has types."""
    first, second = each(4, overflow="WRAP"), each(4, rounding="RND", overflow="SAT")
    layers = [Input("x", 4, first), Activation("q", "linear", result=first if again else second)]
    network = Network([*layers, Maker(0).dense("d", 4, 3, strategy="distributed_arithmetic")])
    project = exported(network, tmp_path / "hls", strategy="distributed_arithmetic")
    inputs = np.random.default_rng(0).normal(0, 2, (2000, 4))
    assert np.array_equal(hls.predict(project, inputs), exact_logits(network, inputs))


@pytest.mark.slow
@pytest.mark.xdist_group("equivalence")
def test_heads_name_the_class_of_the_largest_logit(
    small: Network, under_softmax: tuple[Network, hls.Project], under_argmax: tuple[Network, hls.Project]
) -> None:
    inputs = jets(small, 2000)
    logits = exact_logits(small, inputs)
    soft, largest = (hls.predict(project, inputs) for _, project in (under_softmax, under_argmax))
    for got in (soft, largest):
        assert (got.argmax(axis=1) == logits.argmax(axis=1)).mean() > 0.999
    assert np.abs(soft - torch.softmax(torch.tensor(logits), dim=1).numpy()).max() < 0.005
    assert np.array_equal(largest, np.eye(3)[logits.argmax(axis=1)])


def test_a_project_is_ready_for_vitis_and_says_what_was_asked(small: Network, tmp_path: Path) -> None:
    project = exported(small, tmp_path / "hls", clock_ns=2.5, clock_uncertainty=0.125, namespace="jets")
    settings = (project.folder / "project.tcl").read_text()
    for line in (
        'set project_name "tagger"',
        f'set part "{PART}"',
        "set clock_period 2.5",
        "set clock_uncertainty 12.5%",
    ):
        assert line in settings
    switches = dict(line.split() for line in (project.folder / "build_opt.tcl").read_text().splitlines()[1:-1])
    assert (switches["synth"], switches["vsynth"], switches["cosim"]) == ("1", "1", "0")
    script = (project.folder / "build_prj.tcl").read_text()
    assert "build_opt.tcl" in script
    assert 'CFLAGS="${1:--O1} -fno-exceptions --param ggc-min-heapsize=' in (
        compiling := (project.folder / "build_lib.sh").read_text()
    )
    assert len([line for line in compiling.splitlines() if line.startswith("${CC}")]) == 2  # compiles once, and links
    assert "csynth_design" in script
    assert "vivado_synth.tcl" in script
    assert (project.folder / "vivado_synth.tcl").is_file()
    assert str(project.folder) in (project.folder / "hls4ml_config.yml").read_text()
    assert "ap_ufixed<6,2,AP_RND_CONV,AP_SAT,0>" in (project.folder / "firmware" / "defines.h").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["hls"]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "1tagger"},
        {"name": 'tag"ger'},
        {"part": "xcvu13p; exec rm"},
        {"namespace": "a::b"},
        {"clock_ns": -5.0},
        {"clock_uncertainty": 27.0},
        {"strategy": "unrolled"},
    ],
)
def test_what_would_break_the_project_is_refused(small: Network, tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(NetworkError):
        exported(small, tmp_path / "hls", **changed)
    assert list(tmp_path.iterdir()) == []


def test_a_reuse_factor_that_hls4ml_would_move_is_refused(tmp_path: Path) -> None:
    types = {"weight_type": FixedPoint(6, 1), "bias_type": FixedPoint(8, 3)}
    layer = Dense("fc", torch.ones(3, 4), torch.zeros(3), **types, strategy="resource", reuse_factor=5)  # type: ignore[arg-type]
    network = Network([Input("features", 4, FixedPoint(8, 3)), layer])
    with pytest.raises(
        NetworkError, match=r"'fc': hls4ml would build resource at reuse factor (4|6) where resource at 5"
    ):
        exported(network, tmp_path / "hls", strategy=None)
    with pytest.raises(NetworkError, match="'fc' has reuse factor 5; distributed_arithmetic knows only 1"):
        exported(network, tmp_path / "hls", strategy="distributed_arithmetic")


def test_layers_without_hls_form_are_named(tmp_path: Path) -> None:
    norm = BatchNorm("norm", torch.ones(2), torch.ones(2))
    with pytest.raises(NetworkError, match="'norm'"):
        exported(Network([Input("features", 2, FixedPoint(8, 3)), norm]), tmp_path / "hls")


def test_a_simulation_that_stops_stops_nothing_else(small: Network, tmp_path: Path) -> None:
    project = exported(small, tmp_path / "hls")
    project.library.parent.mkdir(parents=True, exist_ok=True)
    program = f'#include <cassert>\nextern "C" void {project.top}_double(double *x, double *y) {{ assert(x == y); }}'
    (tmp_path / "stops.cpp").write_text(program)
    subprocess.run(["g++", "-shared", "-fPIC", tmp_path / "stops.cpp", "-o", project.library], check=True)
    with pytest.raises(EquivalenceError, match="simulation of '.*' in '.*' stopped: .*Assertion `x == y' failed"):
        hls.predict(project, jets(small, 3))


def test_missing_compiler_is_named(small: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = exported(small, tmp_path / "hls")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match="bash is missing"):
        hls.compile(project)


@pytest.mark.slow
def test_export_prints_nothing_and_imports_no_tensorflow(tmp_path: Path) -> None:
    program = f"""
import sys, torch
from pathlib import Path
from hepprune.firmware import hls
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network
types = dict(weight_type=FixedPoint(6, 1), bias_type=FixedPoint(8, 3))
network = Network([Input("features", 4, FixedPoint(8, 3)), Dense("fc", torch.ones(3, 4), torch.zeros(3), **types)])
hls.export(network, Path({str(tmp_path / "hls")!r}), part={PART!r}, clock_ns=5.0, clock_uncertainty=0.27, name="tagger")
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
