"""Lottery tickets from the command line: what is trained on what, the trials, their means, the plot."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from hepprune import recipe as recipes
from hepprune import training
from hepprune.data import images
from hepprune.errors import DataError
from hepprune.files import write_json
from hepprune.hardware import targets
from hepprune.jobs.sources import RECIPES, by_recipe
from hepprune.jobs.trainings import StudyResult
from hepprune.metrics.scores import label, primary
from hepprune.network import Network
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context, Track, silent
from hepprune.report.plots import curves
from hepprune.report.plots.curves import Line
from hepprune.studies import lottery
from hepprune.studies.lottery import Game, LotteryMeans, Trial
from hepprune.task import Classes
from hepprune.task.sample import Sample
from hepprune.training import Fit

LENET = (300, 100)  # LeCun et al. 1998; on digits of 64 pixels as on MNIST's 784
_VALIDATION = 6  # one in so many of the training images validates
_DIGITS = Fit(epochs=40, batch_size=64, learning_rate=1.2e-3, quantised=False)
_MNIST = Fit(epochs=12, batch_size=128, learning_rate=1.2e-3, quantised=False)
_JETS = Fit(epochs=15, batch_size=1024, learning_rate=6e-3, quantised=False)


@dataclass(frozen=True, kw_only=True)
class LotteryResult(StudyResult):
    """What a game found: each trial, the means over seeds, and how far each kind holds."""

    network: tuple[int, ...]
    fit: Fit
    within: float
    sparsest: dict[str, float]
    points: list[LotteryMeans]
    trials: list[Trial]


@by_recipe("source")
def play(
    source: str,
    build: Path,
    *,
    seeds: Sequence[int],
    epochs: int | None = None,
    sparsity: float = 0.985,
    rounds: int = 12,
    rewind_epochs: int = 0,
    within: float = 0.01,
    executor: Executor | None = None,
    track: Track = silent,
) -> LotteryResult:
    """Draw tickets for LeNet-300-100 on "digits" or a folder with MNIST's files, or for the tagger of a recipe.

    Trainings, lottery.json and the plot land in `build`; what is there already is used.

    Raises:
        DataError: the source is not a folder with MNIST's files and no recipe.
        RecipeError: the recipe cannot be followed, or has several inputs or outputs.
        NetworkError: the sparsity is outside [0, 1].
    """
    name, hidden, game = _game(source, build, track)
    fit = game.fit if epochs is None else replace(game.fit, epochs=epochs)
    game = replace(game, fit=fit, sparsity=sparsity, rounds=rounds, rewind_epochs=rewind_epochs)
    y, state = game.train.truth, build / "state" / "lottery"
    n_out = int(y.max()) + 1 if isinstance(game.train.task, Classes) else int(y.shape[1])
    sizes = (game.train.features.shape[1], *hidden, n_out)
    draw = partial(_drawn, sizes)
    with track(f"lottery on {name}", lottery.n_trainings(game, len(seeds))) as advance:
        trials = lottery.play(draw, game, seeds=seeds, state=state, executor=executor, advance=advance)
    points = lottery.points(trials)
    files = plot(points, build / f"lottery_{name}")
    sparsest = {kind: lottery.sparsest(points, kind, within=within) for kind in lottery.KINDS}
    result = LotteryResult(
        name=name,
        network=sizes,
        n_train=len(game.train),
        n_test=len(game.test),
        fit=fit,
        within=within,
        sparsest=sparsest,
        points=points,
        trials=trials,
        files=files,
    )
    write_json(build / f"lottery_{name}.json", asdict(result))
    return result


def _drawn(sizes: tuple[int, ...], seed: int) -> Network:
    n_features, *hidden, n_classes = sizes
    return training.multilayer_perceptron(n_features, tuple(hidden), n_classes, seed=seed)


def _game(source: str, build: Path, track: Track) -> tuple[str, tuple[int, ...], Game]:
    path = Path(source)
    if source == "digits":
        return "digits", LENET, _images_game(*images.digits(), _DIGITS)
    if path.is_dir():
        return "mnist", LENET, _images_game(*images.mnist(path), _MNIST)
    if path.suffix not in RECIPES:
        raise DataError(f"'{source}' is neither 'digits', nor a folder with MNIST's IDX files, nor a recipe.yaml")
    recipe = recipes.load(path)
    taggers.check_plain(recipe)
    jets = taggers.read_jets(Context(recipe=recipe, target=targets.load(recipe.target), build=build, track=track))
    game = Game(**jets.parts, fit=_JETS)
    return recipe.name, recipe.model.hidden, game


def _images_game(train: images.Images, test: images.Images, fit: Fit) -> Game:
    n_validation = len(train[1]) // _VALIDATION
    fit_on, validation = (
        Sample.from_arrays(*(array[part] for array in train))
        for part in (slice(n_validation, None), slice(n_validation))
    )
    return Game(train=fit_on, validation=validation, test=Sample.from_arrays(*test), fit=fit)


def plot(points: Sequence[LotteryMeans], path: Path) -> dict[str, str]:
    """Draw the primary metric of tickets and controls against the weights that are left, and return the files."""
    dense = next(point for point in points if point.kind == "dense")
    lines = []
    for kind in lottery.KINDS:
        own = [point for point in points if point.kind == kind]
        left = [100 * (1 - point.sparsity) for point in own]
        lines.append(Line(kind, left, [primary(point.scores) for point in own]))
    metric, score = next(iter(dense.scores.items()))
    x_label, y_label = "weights left [%]", f"test {label(metric)}"
    drawn = curves.draw(lines, path, x_label=x_label, y_label=y_label, level=("dense", score), log_x=True, falling=True)
    return {file.suffix[1:]: str(file) for file in drawn}
