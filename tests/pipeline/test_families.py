"""Taggers of HGQ2, PQuantML and Brevitas go through a run with types of their own, where hls4ml does not take them, too."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune import frontends, pipeline
from hepprune.errors import NetworkError
from hepprune.network import exact_raw, load
from hepprune.pipeline import checks, tools
from tests.pipeline import families
from tests.pipeline.taught import teach
from tests.reference import MORE

BROADCAST = r"layer 'atten\w+_softmax' \(Merge\) broadcasts .* which hls4ml does not do in io_parallel"
# Why hls4ml does not take a tagger, of which Verilog alone is written then.
FAMILIES = {
    "hgq_dense.keras": "",
    "hgq_fused.keras": "",
    "hgq_wrapped.keras": "",
    "hgq_pooled.keras": "",
    "hgq_attention.keras": BROADCAST,
    "hgq_tables.keras": r"layer 'window_tables' \(Lookup\) has no hls4ml form",
    "hgq_floats.keras": r"layer 'hidden_input' \(Activation\) looks each value up in a table of its own",
    "hgq_gru.keras": r"layer 'first' \(Activation\) would be looked up from an argument of \d+ bits, more than 12",
    "hgq_recurrent.keras": r"layer 'first' \(Activation\) would be looked up from an argument of \d+ bits, more than 12",
    "dense.keras": "",
    "steps.keras": "",
    "image.keras": "",
    "attention.keras": BROADCAST,
    "across.keras": BROADCAST,
    "perceptron.onnx": "",
    "residual.onnx": "",
    "functions.onnx": "",
}
# The files of docs/record.md.
RECORD = sorted((MORE / "hgq").glob("*/*.*"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tagger_of_each_family_passes_and_is_told_what_is_written_of_it(name: str, tmp_path: Path) -> None:
    model, no_hls = checks.check(families.job(tmp_path, families.unpacked(name, tmp_path)), "yosys")
    assert model is not None
    assert bool(no_hls) == bool(FAMILIES[name])
    assert re.search(FAMILIES[name], no_hls)


@pytest.mark.parametrize(
    ("name", "asked"),
    [("hgq_tables.keras", {"synthesis": {"tool": "vitis_vivado"}}), ("hgq_attention.keras", {"strategy": "latency"})],
)
def test_who_asks_for_hls_is_refused_what_hls4ml_does_not_take(
    name: str, asked: dict[str, object], tmp_path: Path
) -> None:
    job = families.job(tmp_path, families.unpacked(name, tmp_path), **asked)
    assert tools.asks_for_hls(job.recipe)
    with pytest.raises(NetworkError, match=f"cannot build this network: .*{FAMILIES[name]}"):
        checks.check(job, "vsynth")


@pytest.mark.slow
@pytest.mark.parametrize("file", RECORD, ids=[file.name for file in RECORD])
def test_the_record_of_the_field_passes(file: Path, tmp_path: Path) -> None:
    _, no_hls = checks.check(families.job(tmp_path, file), "yosys")
    assert bool(no_hls) == (file.name in {"mha8part.keras", "linformer8part.keras"})


SHORT = {
    "search": {"stages": 2, "step": 0.5, "fine_tune_epochs": 1, "settle_epochs": 2, "trim_epochs": 1},
    "checks": {"csim_vectors": 300, "rtl_vectors": 200},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "share"),  # tables, which no search takes apart, are most of the second
    [("hgq_wrapped.keras", 0.7), ("hgq_tables.keras", 0.9), ("steps.keras", 0.7), ("perceptron.onnx", 0.7)],
)
def test_a_tagger_of_each_family_is_made_to_fit_proved_and_written_back(
    name: str, share: float, tmp_path: Path
) -> None:
    file = families.unpacked(name, tmp_path)
    budget = {"latency_ns": 500, "lut_of_baseline": share, "max_loss": {"accuracy": 0.6}}
    job = families.job(tmp_path, file, n_jets=2000, budget=budget, **SHORT)
    teach(job.build, stage="yosys", strategy="distributed_arithmetic", factor=1.3)
    summary = pipeline.run(job.recipe, build=job.build, plots=False)
    assert summary.feedback[-1].met
    assert summary.feedback[-1].measured.lut > 0.3 * summary.budget["lut"]  # and not next to nothing
    assert (summary.checks.rtl_vectors, summary.checks.rtl_mismatches) == (200, 0)
    by_hls = FAMILIES[name] == ""
    assert (summary.checks.csim_mismatches == 0, summary.checks.no_hls is None) == (by_hls, by_hls)
    assert ("HLS project" in summary.files, (job.build / "hls").exists()) == (by_hls, by_hls)
    before, after, written = frontends.read(file), load(job.build / "network.npz"), Path(summary.files["model"])
    assert sum(after.sizes.values()) <= sum(before.sizes.values())
    assert written.suffix == file.suffix
    x = [np.random.default_rng(2).normal(size=(100, *each.features_shape)).astype(np.float32) for each in after.inputs]
    x = [each.result(values) for each, values in zip(after.inputs, x, strict=True)]  # files keep no type of an input
    with torch.no_grad():
        (wanted,), found = exact_raw(after, x), frontends.read(written)
        np.testing.assert_array_equal(found(torch.as_tensor(x[0])).numpy(), wanted)
    assert np.ptp(wanted) > 0
