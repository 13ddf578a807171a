"""Where networks train: what is asked for, what is refused, and that a device changes no result."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from hepprune import executors, training
from hepprune.cli import app
from hepprune.errors import ExecutorError, PrerequisiteError
from hepprune.jobs.study import study
from hepprune.network import Network, identity, save
from hepprune.pruning import statistics
from hepprune.pruning.statistics import LayerStatistics, values
from hepprune.search.allocation import bits
from hepprune.task.sample import Sample
from hepprune.training import Fit, devices
from tests.search.architectures import ARCHITECTURES

Jets = tuple[Sample, Sample]
RECIPE = Path(__file__).parents[2] / "hls_projects/jet_tagger/recipe.yaml"
HAS_CUDA = torch.cuda.is_available()
SHORT = Fit(epochs=2, batch_size=512, learning_rate=5e-3)


def cut_most(network: Network, passed: float) -> bool:
    for kernel in network.kernels:
        kernel.digit_limit.copy_((kernel.weight.abs() > 0.2 * passed) * 2)
    return True


@contextmanager
def beside() -> Iterator[None]:
    """Have a name of the processor that is not the usual one, so that all is taken there and brought back."""
    token = devices._asked.set(torch.device("cpu", 0))
    yield
    devices._asked.reset(token)


def test_without_a_word_and_where_there_is_no_gpu_it_is_the_processor() -> None:
    assert devices.current() == devices.CPU
    with devices.on("auto"):
        assert devices.current().type == ("cuda" if HAS_CUDA else "cpu")
    with devices.on("cpu"), devices.on("auto", unless_asked=True):
        assert devices.current() == devices.CPU
    assert devices.current() == devices.CPU


def device_of(_: int) -> torch.device:
    return devices.current()


@pytest.mark.parametrize(("spec", "index"), [("serial", 0), ("threads:2", 0), ("processes:1", None)])
def test_threads_work_on_the_device_and_processes_on_their_processor(spec: str, index: int | None) -> None:
    with executors.open(spec) as executor, beside():
        assert executors.gather(executor, device_of, range(3)) == [torch.device("cpu", index)] * 3
        assert executors.gather(executor, device_of, [3]) == [torch.device("cpu", index)]
    with executors.open(spec) as executor:
        assert executors.gather(executor, device_of, range(3)) == [devices.CPU] * 3


def test_an_unknown_device_is_refused_with_the_choices() -> None:
    with pytest.raises(ExecutorError, match="unknown device 'gpu'; choose one of:.*cuda"), devices.on("gpu"):
        pass


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU")
def test_cuda_is_refused_where_there_is_no_gpu() -> None:
    with pytest.raises(PrerequisiteError, match="torch finds none here"), devices.on("cuda"):
        pass
    done = CliRunner().invoke(app, ["--device", "cuda", "run", str(RECIPE)])
    assert done.exit_code == PrerequisiteError.exit_code
    assert done.stderr.count("error:") == 1
    assert "the device 'cuda' is a GPU and torch finds none here" in done.stderr


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU")
def test_the_device_of_a_recipe_is_refused_alike_but_not_where_the_command_names_another(tmp_path: Path) -> None:
    content, path = yaml.safe_load(RECIPE.read_text()), tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content | {"device": "cuda"}))
    done = CliRunner().invoke(app, ["run", str(path), "--front"])
    assert "torch finds none here" in done.stderr
    done = CliRunner().invoke(app, ["--device", "cpu", "run", str(path), "--front"])
    assert "torch finds none here" not in done.stderr
    assert "jets_features.root" in done.stderr  # is not beside this recipe


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU")
def test_the_device_of_a_recipe_counts_among_models_by_name(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(yaml.safe_load(RECIPE.read_text()) | {"device": "cuda"}))
    for models in ([tmp_path / "recipe.yaml"], {"tagger": tmp_path / "recipe.yaml"}):
        with pytest.raises(PrerequisiteError, match="torch finds none here"):
            study(models, "generic_vu13p")


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU")
@pytest.mark.parametrize(
    "command",
    [
        ["compare", "recipe.yaml"],
        ["lottery", "recipe.yaml"],
        ["dynamic", "recipe.yaml"],
        ["latency", "recipe.yaml", "-o", "out.npz"],
        ["prune", "recipe.yaml", "--schedule", "polynomial", "-o", "out.npz"],
        ["prune", "model.npz", "--data", "recipe.yaml", "-o", "out.npz"],
        ["search", "model.npz", "--data", "recipe.yaml", "-o", "out"],
        ["study", "recipe.yaml", "-t", "generic_vu13p"],
    ],
    ids=" ".join,
)
def test_every_command_that_trains_or_scores_takes_the_device_of_its_recipe(
    command: list[str], tagger: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tagger, tmp_path / "model.npz")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(yaml.safe_load(RECIPE.read_text()) | {"device": "cuda"}))
    assert "torch finds none here" in CliRunner().invoke(app, command).stderr
    assert "torch finds none here" not in CliRunner().invoke(app, ["--device", "cpu", *command]).stderr


def test_the_way_to_a_device_and_back_changes_nothing(tagger: Network, jets: Jets) -> None:
    train, validation = jets[0].first(1024), jets[1].first(512)
    options = {"settings": SHORT, "seed": 3, "prepare": cut_most}
    with beside():
        there, history = training.fit(tagger, train, validation, **options)
    here, same = training.fit(tagger, train, validation, **options)
    assert identity(there) == identity(here)
    assert [each.loss for each in history] == [each.loss for each in same]


def test_scores_there_are_the_same(tagger: Network, jets: Jets) -> None:
    with beside():
        scores, logits = training.scores(tagger, jets[1]), training.evaluate(tagger, jets[1])
    assert scores["accuracy"].value == training.scores(tagger, jets[1])["accuracy"].value
    assert np.array_equal(logits, training.evaluate(tagger, jets[1]))


def alike(found: Mapping[str, LayerStatistics], same: Mapping[str, LayerStatistics]) -> None:
    for name in same:
        for one, other in zip(vars(found[name]).values(), vars(same[name]).values(), strict=True):
            assert one.device == devices.CPU
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("make", [None, *ARCHITECTURES.values()])
def test_statistics_make_every_tensor_where_their_jets_are(
    make: Callable[[], Network] | None, tagger: Network, jets: Jets
) -> None:
    network, sample = tagger, jets[0].first(200)
    if make is not None:
        network = make()
        x = torch.randn(200, *network.input.features_shape)
        sample = Sample(x, torch.randint(network.widths[network.raw_output], (200,)))
    same = statistics.gather(network, sample)
    with torch.device("meta"):  # where whatever is made without a place would be, to go with nothing else
        alike(statistics.gather(network, sample), same)
        if make is None:
            found = values.worths(network, sample)
            assert all(each.device == devices.CPU for each in (*found.values.values(), *found.weights.values()))


@pytest.mark.skipif(not HAS_CUDA, reason="needs a GPU")
def test_statistics_on_cuda_agree(tagger: Network, jets: Jets) -> None:
    same = statistics.gather(tagger, jets[0])
    with devices.on("cuda"):
        alike(statistics.gather(*training.placed(tagger, jets[0])), same)


@pytest.mark.skipif(not HAS_CUDA, reason="needs a GPU")
@pytest.mark.parametrize("opened", [False, True])
def test_cpu_and_cuda_agree(tagger: Network, jets: Jets, opened: bool) -> None:  # noqa: FBT001
    network = bits.opened(tagger, jets[0])[0] if opened else tagger
    here = training.evaluate(network, jets[1])
    options = {"settings": SHORT, "seed": 3, "prepare": cut_most}
    one, ours = training.fit(network, *jets, **options)
    with devices.on("cuda"):
        assert np.array_equal(training.evaluate(network, jets[1]), here)  # sums of fixed-point values are exact
        other, theirs = training.fit(network, *jets, **options)
    assert next(other.parameters()).device == devices.CPU
    assert [each.loss for each in theirs] == pytest.approx([each.loss for each in ours], rel=1e-2)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=0.05)
