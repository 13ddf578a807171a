"""Small whole files of every kind, to begin fuzzing with; public reports too."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.reference import REPORTS
from tests.synthesis.reports import test_parsers as samples
from tests.synthesis.reports import test_releases as releases

ROOT = Path(__file__).resolve().parents[2]
MAX_SEED = 2**15

CSYNTH = """<?xml version="1.0" encoding="UTF-8" ?>
<profile><ReportVersion><Version>2022.2</Version></ReportVersion>
<UserAssignments><unit>ns</unit><Part>xcu250-figd2104-2L-e</Part><TopModelName>myproject</TopModelName>
<TargetClockPeriod>5.00</TargetClockPeriod><ClockUncertainty>1.35</ClockUncertainty></UserAssignments>
<PerformanceEstimates><SummaryOfTimingAnalysis><EstimatedClockPeriod>3.6</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Worst-caseLatency>15</Worst-caseLatency><Interval-max>1</Interval-max></SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>4</BRAM_18K><DSP>7</DSP><FF>20</FF><LUT>30</LUT><URAM>0</URAM></Resources></AreaEstimates>
<RTLDesignHierarchy><TopModule><InstancesList><Instance><ModuleName>dense_config2_s</ModuleName></Instance></InstancesList>
</TopModule></RTLDesignHierarchy>
<ModuleInformation><Module><Name>dense_config2_s</Name><PerformanceEstimates><SummaryOfOverallLatency>
<Worst-caseLatency>3</Worst-caseLatency><PipelineInitiationInterval>1</PipelineInitiationInterval>
</SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>0</BRAM_18K><DSP>5</DSP><FF>9</FF><LUT>11</LUT></Resources></AreaEstimates>
</Module></ModuleInformation></profile>
"""
LOG = """****** Vivado v2023.1 (64-bit)
INFO: [Project 1-11] Setting up clock 'ap_clk' with a period of 5ns.
INFO: setting target device to 'xcvu13p-flga2577-2-e'
ERROR: [XFORM 203-504] Stop unrolling loop 'Product1' because it may cause large runtime
ERROR: [HLS 200-70] Pre-synthesis failed.
"""
CAUGHT = """INFO: [HLS 200-1510] Running: config_array_partition -maximum_size 4096
ERROR: [HLS 200-642] The 'config_array_partition -maximum_size' command is not supported.
INFO: [HLS 200-1510] Running: csynth_design
INFO: [HLS 200-111] Finished Command csynth_design CPU user time: 27.71 seconds.
INFO: [HLS 200-1510] Running: cosim_design
slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2025-01-01T00:00:00 DUE TO TIME LIMIT ***
Abnormal program termination (11)
"""
PROJECT = {
    "p/hls4ml_config.yml": "ProjectName: myproject\nClockPeriod: 5\nPart: xcvu13p-flga2577-2-e\nStamp: abc\n",
    "p/firmware/parameters.h": "// fc1\nstruct config2 : nnet::dense_config {\n",
    "p/myproject_prj/solution1/syn/report/csynth.xml": CSYNTH,
    "p/vivado_synth.rpt": samples.HIERARCHY,
    "p/vitis_hls.log": LOG,
}
TARGET = """name: mine
part: xcvu13p-flga2577-2-e
clock_ns: 2.5
levels_per_cycle: 3
reserved_cycles: 2
budget: {latency_ns: 100.0, interval_cycles: 1, share: 0.1, models: 2, taken: {lut: 100}}
device: {family: UltraScale+, lut: 1000000, ff: 2000000, dsp: 1000, bram18: 100, uram: 10, slr: 4}
source: somewhere
"""
INPUT = {"class_name": "InputLayer", "config": {"name": "jets", "batch_input_shape": [None, 4]}}
DENSE = {"class_name": "Dense", "config": {"name": "fc1", "units": 3, "activation": "relu", "use_bias": True}}


def reports() -> list[bytes]:
    """Return a report of each parser: samples of the tests, and the smaller public ones."""
    own = [CSYNTH, samples.HIERARCHY, samples.EXPORT, samples.COSIM.format(status="Pass"), samples.YOSYS, LOG]
    own.append(samples.TIMING.format(wns="0.123", whs="0.010"))
    own += [releases.CSYNTH, releases.tree("2020.2", "-|  -2.74", "-|  -1.16", "-|  -7.30", interval="20 ~ 21")]
    return [text.encode() for text in own] + [content for content in _public() if len(content) <= MAX_SEED]


def _public() -> list[bytes]:
    """Return the public reports, each kind of a case once: modules have dozens that look alike."""
    found: dict[tuple[str, str], bytes] = {}
    for path in sorted(REPORTS.rglob("*")):
        if path.suffix in {".xml", ".rpt", ".ndjson", ".json", ".log"}:
            found.setdefault((path.relative_to(REPORTS).parts[0], path.name[-12:]), path.read_bytes())
    return list(found.values())


def logs() -> list[bytes]:
    """Return logs of failed runs."""
    return [
        LOG.encode(),
        CAUGHT.encode(),
        *(path.read_bytes()[-MAX_SEED:] for path in sorted(REPORTS.glob("failed-logs/*.log"))),
    ]


def recipes() -> list[bytes]:
    """Return the recipes that are kept with the project."""
    return [path.read_bytes() for path in sorted(ROOT.glob("hls_projects/*/recipe.yaml"))]


def targets() -> list[bytes]:
    """Return a user's target."""
    return [TARGET.encode()]


def summary() -> bytes:
    """Return a run's summary."""
    from hepprune.report.summary import to_json
    from tests.report.test_summary import FOUND

    return to_json(FOUND).encode()


def solution() -> bytes:
    """Return what a solver found for one layer."""
    from pydantic import TypeAdapter

    from hepprune.search.plans.choices import Option
    from hepprune.search.plans.pareto import Pick, Plan, PlanSolution, PlanStep

    plan = Plan(
        (Pick("tagger", "fc1", Option(granularity="column", sparsity=0.5, reuse_factor=1, weight_bits=6)),),
        0.01,
        0.002,
        {"lut": 0.9},
    )
    step = PlanStep(
        model="tagger",
        layer="fc1",
        before=Option(),
        after=plan.picks[0].option,
        loss=0.01,
        error=0.002,
        freed={"lut": 0.1},
        reason="frees most",
    )
    found = PlanSolution(solver="greedy", front=(plan,), chosen=plan, optimal=False, steps=(step,))
    return TypeAdapter(PlanSolution).dump_json(found)


def scalers() -> list[bytes]:
    """Return what describes the edges of a design, once with every key and once with few."""
    kind = "ap_fixed<8,4,AP_RND,AP_SAT>"
    words = [{"name": name, "type": kind, "low": 8 * i, "width": 8} for i, name in enumerate(("pt", "isfilled"))]
    features = [
        {"name": "pt", "offset": 96.0, "scale": 32.0, "shift": 5},
        {"name": "isfilled", "offset": 0.0, "scale": 1.0, "shift": 0},
    ]
    port = {"name": "features", "shape": [1, 2], "features": features, "words": words, "mark": "isfilled"}
    logit = {"name": "q", "low": 0, "width": 0}
    whole = {
        "name": "tagger",
        "top": "tagger_rtl",
        "verilog": "verilog/abc",
        "clock_ns": 2.5,
        "latency_cycles": 3,
        "interval_cycles": 1,
        "inputs": [port],
        "outputs": [{"name": "dense_2", "shape": [1], "meaning": "class logits", "words": [logit]}],
    }
    plain = [{"name": "pt", "offset": 0.1, "scale": 0.7}]
    few = {"name": "features", "shape": [1], "features": plain, "words": words[:1]}
    return [json.dumps(whole).encode(), json.dumps(whole | {"inputs": [few]}).encode()]


def fixed() -> list[bytes]:
    """Return types as hls4ml writes them."""
    return [b"ap_fixed<16,6>", b"ap_ufixed<8,4,AP_RND,AP_SAT,0>", b"fixed<8,-2>", b"ufixed<6,2,RND_CONV,WRAP>"]


def onnx() -> list[bytes]:
    """Return a perceptron, and a convolution with its normalisation, as ONNX."""
    from onnx import helper

    from tests.frontends.onnx.models import model

    dense = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first"), helper.make_node("Relu", ["h"], ["y"])]
    conv = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], kernel_shape=[2], name="conv"),
        helper.make_node("BatchNormalization", ["h", "b", "b", "b", "v"], ["y"], name="norm"),
    ]
    arrays = {"w": np.ones((3, 2, 2)), "b": np.ones(3), "v": np.ones(3)}
    made = (
        model(dense, {"x": ["n", 3]}, {"y": ["n", 2]}, arrays={"w": np.ones((3, 2)), "b": np.zeros(2)}),
        model(conv, {"x": ["n", 2, 5]}, {"y": ["n", 3, 4]}, arrays=arrays),
    )
    return [each.SerializeToString() for each in made]


def networks() -> list[Any]:
    """Return a perceptron, and a network of most kinds of layers with quantisers."""
    import torch

    from hepprune.fixed import FixedPoint
    from hepprune.network import Dense, Input, Merge, Network, Recurrent, Shared, layers
    from hepprune.training import multilayer_perceptron

    kernel, ones = torch.ones(2, 3, 2), torch.ones(2)
    cell = {"weight": torch.ones(6, 2), "recurrent_weight": torch.ones(6, 2)}
    biases = dict.fromkeys(("bias", "recurrent_bias"), torch.zeros(6))
    kind = FixedPoint(8, 4)
    chain = [
        Input("x", (8, 2), kind),
        layers.Conv("c", kernel, ones, padding=((1, 1),), weight_type=kind, bias_type=kind, reuse_factor=2),
        layers.BatchNorm("n", ones, ones),
        layers.ReLU("r", kind, maximum=6.0),
        layers.Pool("p", "average", (2,)),
        layers.UpSample("u", (2,)),
        layers.Slice("s", 0, 4, axis=1),
        Recurrent("g", "gru", **cell, **biases, return_sequences=True),
        layers.Activation("a", "elu", {"alpha": 0.5}),
        layers.Permute("o", (1, 0)),
        layers.Reshape("f", (-1,)),
        Dense("d", torch.ones(8, 8), torch.zeros(8), strategy="resource"),
        Shared("again", "d"),
        Merge("m", "add"),
        layers.Softmax("q"),
    ]
    names = [layer.name for layer in chain]
    sources = dict(zip(names[1:], names, strict=False)) | {"m": ("d", "again")}
    return [multilayer_perceptron(3, (2,), 2, seed=1), Network(chain, sources)]


def jets() -> list[bytes]:
    """Return jets in an .npz, as they are and compressed."""
    x, y = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([0, 1, 1, 0])
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, x=x, y=y)
    np.savez_compressed(packed, x=x, y=np.eye(2)[y])
    return [plain.getvalue(), packed.getvalue()]


def trees() -> list[bytes]:
    """Return jets in a TTree and in an RNTuple."""
    from tempfile import TemporaryDirectory

    import uproot

    columns = {"pt": np.ones(20, np.float32), "label": np.zeros(20, np.int32)}
    with TemporaryDirectory() as folder:
        plain, fields = Path(folder) / "tree.root", Path(folder) / "fields.root"
        with uproot.recreate(plain) as file:
            file["Jets"] = columns
        with uproot.recreate(fields) as file:
            file.mkrntuple("Jets", columns)
        return [plain.read_bytes(), fields.read_bytes()]


def described(*layers: dict[str, Any]) -> dict[str, Any]:
    """Return a model of Keras as its files describe it."""
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}, "keras_version": "2.13.1"}


def keras_archive() -> bytes:
    """Return a Keras 3 file of one dense layer."""
    import h5py

    weights, whole = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((4, 3)), np.zeros(3)
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("config.json", json.dumps(described(INPUT, DENSE)))
        archive.writestr("model.weights.h5", weights.getvalue())
    return whole.getvalue()


def hgq_archive() -> bytes:
    """Return a file that HGQ2 wrote."""
    return (ROOT / "tests" / "frontends" / "keras" / "data" / "hgq_convolutional.keras").read_bytes()


def keras_h5() -> bytes:
    """Return a Keras 2 file of one dense layer."""
    import h5py

    whole = io.BytesIO()
    with h5py.File(whole, "w") as file:
        file.attrs["keras_version"] = "2.13.1"
        file.attrs["model_config"] = json.dumps(described(INPUT, DENSE))
        group = file.create_group("model_weights/fc1")
        group.attrs["weight_names"] = np.array(["fc1/kernel:0", "fc1/bias:0"], dtype="S")
        group["fc1/kernel:0"], group["fc1/bias:0"] = np.ones((4, 3), np.float32), np.zeros(3, np.float32)
    return whole.getvalue()


def pt2() -> bytes:
    """Return a convolution and a dense layer as torch.export saves them."""
    import torch

    module = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 4))
    whole = io.BytesIO()
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(2, 2, 6),)), whole)
    return whole.getvalue()
