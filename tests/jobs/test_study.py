"""A latency study from Python and from the command line: prices, verdicts, designs measured here and elsewhere."""

import csv
import json
import re
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import hepprune as hp
from hepprune.cli import app
from hepprune.errors import RecipeError
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Measurement
from hepprune.jobs.study import SynthesisRequest, study
from hepprune.network import Conv, Dense, Input, Network, save
from hepprune.synthesis.ledger import Ledger
from hepprune.task.sample import Sample
from hepprune.training import multilayer_perceptron

TARGET = "generic_vu13p"


def test_every_point_is_priced_as_an_estimate_of_its_own(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    found = study(
        tagger,
        TARGET,
        clock_ns=(2.5, 5.0),
        strategy=("latency", "resource", "distributed_arithmetic"),
        reuse_factor=(1, 2),
        sparsity=(0.0, 0.5),
        data=jets[1],
    )
    assert found[0].estimate.stage == "vsynth"  # the only stage that all three are predicted at
    assert len(found) == 2 * 2 * 4
    assert sum(found.illegal.values()) == 2 * 2 * 2
    for point in found:
        place, setting = targets.load(TARGET).at(point.setting.clock_ns), point.setting
        own = hp.prune(tagger, sparsity=setting.sparsity) if setting.sparsity else tagger
        alone = cost.estimate(own, place, strategy=setting.strategy, stage="vsynth", reuse_factor=setting.reuse_factor)
        assert point.estimate == alone
        assert point.fits == place.budget.met_by(alone)
        assert point.scores["accuracy"].error
    accuracies = {point.setting.sparsity: point.scores["accuracy"].value for point in found}
    assert accuracies[0.0] > accuracies[0.5]


def test_a_study_is_as_fast_as_a_thousand_points_in_thirty_seconds() -> None:
    tagger = multilayer_perceptron(16, (64, 32, 32), 5, seed=0)
    started = time.process_time()
    found = study(
        tagger, TARGET, clock_ns=(2.5, 2.8, 3.33, 5.0), reuse_factor=(1, 2, 4), bits=(6, 8), sparsity=(0.0, 0.8)
    )
    assert len(found) == 2 * 2 * 4 * 6
    assert (time.process_time() - started) / len(found) < 0.03


def test_a_wrapper_takes_its_cycles_at_every_clock(tagger: Network) -> None:
    found = study(tagger, "cms_ph2_cl2", clock_ns=(2.5, 5.0), strategy=("distributed_arithmetic",))
    at = {point.setting.clock_ns: point for point in found}
    assert [at[clock].reserved_ns for clock in (2.5, 5.0)] == [180.0, 360.0]
    assert at[2.5].budget.latency_ns == pytest.approx(1000 - 180)
    assert at[5.0].budget.latency_ns == pytest.approx(1000 - 360)
    assert [point.setting.clock_ns for point in found.front] == [2.5]  # 5 ns is faster only without its wrapper
    assert at[5.0].latency_ns <= at[2.5].latency_ns
    late = study(tagger, "cms_ph2_cl2", clock_ns=(2.5, 20.0), strategy=("distributed_arithmetic",))
    assert list(late.illegal) == ["target 'cms_ph2_cl2': 72 reserved cycles of 20 ns leave nothing of 1000 ns"]


def test_what_hls_does_not_build_is_counted_and_said() -> None:
    wide = Network([Input("x", 64), Dense("fc", torch.ones(128, 64), torch.zeros(128))])
    found = study(wide, TARGET, bits=(6,), strategy=("latency", "resource"), reuse_factor=(1, 3, 4))
    reasons = " ".join(found.illegal)
    assert "has 8192 products at once" in reasons
    assert "cannot be built with reuse factor 3" in reasons
    assert [point.setting.reuse_factor for point in found] == [4]
    conv = Network([Input("x", (8, 2)), Conv("conv", torch.ones(4, 1, 2), torch.zeros(4))])
    found = study(conv, TARGET, bits=(6,), strategy=("latency",), parallelization=(1, 3, 8))
    assert [point.setting.parallelization for point in found] == [1, 8]
    assert found[0].estimate.interval_cycles == 8
    assert found[1].estimate.interval_cycles == 1
    with pytest.raises(RecipeError, match="none of 1 combinations is legal; of 1 of them: layer 'fc' has 8192"):
        study(wide, TARGET, bits=(6,), strategy=("latency",))


def test_synthesis_needs_a_folder_and_a_tool_that_takes_what_is_made(tagger: Network, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="synthesis needs a folder"):
        study(tagger, TARGET, synthesis=SynthesisRequest(n=1))
    with pytest.raises(RecipeError, match="designs are built with io_parallel; points of io_stream are priced"):
        study(tagger, TARGET, io_type="io_stream", synthesis=SynthesisRequest(n=1), out=tmp_path)
    with pytest.raises(RecipeError, match="'yosys' takes Verilog, which only strategy distributed_arithmetic makes"):
        study(tagger, TARGET, strategy=("latency",), synthesis=SynthesisRequest(n=1, tool="yosys"), out=tmp_path)


def test_designs_wait_for_another_machine_and_then_correct_the_table(tagger: Network, tmp_path: Path) -> None:
    model, out = save(tagger, tmp_path / "tagger.npz"), tmp_path / "out"
    options = ["--clock", "5", "--strategy", "distributed_arithmetic", "--sparsity", "0.5,0.8", "--stage", "vsynth"]
    command = ["study", str(model), "-t", TARGET, *options, "-o", str(out), "--tool", "elsewhere", "--synthesise", "1"]
    waiting = CliRunner().invoke(app, command)
    assert waiting.exit_code == 4, waiting.output
    said = re.search(r"synthesise '([^']+)'.*--design (\w+)", waiting.output, re.DOTALL)
    assert said is not None
    assert (Path(said[1]) / "hepprune.json").is_file()
    with (out / "study.csv").open() as file:
        (before, other) = list(csv.DictReader(file))
    with Ledger(out / "ledger.sqlite") as book:
        ((design),) = book.designs()
        assert design.key == said[2]
        (estimate,) = (record.value for record in book.records())
        seen = Measurement(
            stage="vsynth",
            tool="vivado",
            version="2024.1",
            part="xcvu13p",
            clock_ns=5.0,
            resources=estimate.resources.scaled({"lut": 1.5}),
            latency_cycles=estimate.latency_cycles + 1,  # type: ignore[union-attr]
            interval_cycles=1,
        )
        book.record(said[2], seen)
    again = CliRunner().invoke(app, [*command, "--json"])
    assert again.exit_code == 0, again.output
    points = json.loads(again.stdout)["points"]
    (known,) = [point for point in points if point["measured_lut"] is not None]
    assert known["measured_lut"] == pytest.approx(seen.resources.lut)
    for row, point in zip((before, other), points, strict=True):
        assert 1.2 < point["lut"] / float(row["lut"]) < 1.5
        assert point["latency_cycles"] == int(row["latency_cycles"]) + 1
        assert point["n_learned"] == 1
    assert {path.name for path in out.glob("*.png")} >= {"latency_against_lut.png", "latency_by_layer.png"}


@pytest.mark.slow
def test_the_most_informative_designs_are_really_synthesised_once(tagger: Network, tmp_path: Path) -> None:
    given = {"clock_ns": (5.0,), "strategy": ("distributed_arithmetic",), "sparsity": (0.8, 0.85), "out": tmp_path}
    plain = study(tagger, TARGET, **{**given, "out": None})  # type: ignore[arg-type]
    found = study(tagger, TARGET, **given, synthesis=SynthesisRequest(n=None))  # type: ignore[arg-type]
    assert len(found.measured) == 2
    for before, after in zip(plain, found, strict=True):
        seen = after.measurement
        assert seen is not None
        assert (seen.stage, seen.tool) == ("yosys", "yosys")
        assert after.figures is seen
        assert 0.5 < (seen.resources.lut or 0) / (before.estimate.resources.lut or 1) < 1.5
        assert abs((after.estimate.resources.lut or 0) - (seen.resources.lut or 0)) <= abs(
            (before.estimate.resources.lut or 0) - (seen.resources.lut or 0)
        )
        assert after.n_learned == 2
    assert set(found.files) == {"csv", "json", "latency_against_lut", "latency_by_layer", "predicted_against_measured"}
    started = time.perf_counter()
    again = study(tagger, TARGET, **given, synthesis=SynthesisRequest(n=None))  # type: ignore[arg-type]
    assert again.points == found.points
    assert time.perf_counter() - started < 15


def test_the_command_says_what_is_wrong_in_one_sentence(tagger: Network, tmp_path: Path) -> None:
    model = str(save(tagger, tmp_path / "tagger.npz"))
    for options, said in (
        (["--clock", "fast"], "--clock takes numbers separated by commas, not 'fast'"),
        (["--sparsity", "0.5,"], "--sparsity takes numbers separated by commas, not '0.5,'"),
        (["--strategy", "latencey"], "unknown strategy 'latencey'"),
        (["--synthesise", "some"], "--synthesise takes a number of points or all"),
        (["--budget", "lut=200%"], "a limit of 3,456,000 lut is more than"),
        (["--io-type", "io_serial"], "unknown io_type 'io_serial'"),
        (["--stage", "place"], "unknown stage"),
    ):
        outcome = CliRunner().invoke(app, ["study", model, "-t", TARGET, *options])
        assert (outcome.exit_code, said in " ".join(outcome.output.split())) == (1, True), outcome.output


def test_several_models_and_their_table_on_the_screen(tagger: Network, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    models = [str(save(tagger, tmp_path / name)) for name in ("a.npz", "b/a.npz")]
    outcome = CliRunner().invoke(app, ["study", *models, "-t", TARGET, "--clock", "2.5,5", "--strategy", "latency"])
    assert outcome.exit_code == 0, outcome.output
    assert "4 points, 4 fit" in outcome.output
    assert "a_1" in outcome.output
    assert "a_2" in outcome.output
    assert "warning" not in outcome.output
    untyped = multilayer_perceptron(8, (4,), 5, seed=0)
    outcome = CliRunner().invoke(app, ["study", str(save(untyped, tmp_path / "u.npz")), "-t", TARGET])
    assert "warning: no fixed-point type is known for" in " ".join(outcome.output.split())
