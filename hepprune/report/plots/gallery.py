"""Every plot of what outputs are on the test jets, by the kind of each output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepprune import metrics
from hepprune.metrics import Floats
from hepprune.report.designs import Judged
from hepprune.report.plots import distributions, physics
from hepprune.report.plots.physics import Scored

Pictures = Iterator[tuple[str, list[Path]]]
_LINES = {"baseline": "-", "uniform": ":", "hepprune": "--"}  # all others are hardware, and have markers


def draw(outputs: Sequence[Judged], folder: Path) -> dict[str, list[Path]]:
    """Draw what belongs to each output, png and pdf, and return the files by the name of the plot."""
    return {name: files for output in outputs for name, files in _KINDS[output.kind](output, folder)}


def captions(outputs: Sequence[Judged]) -> dict[str, str]:
    """Return what plots are of, by what stands behind the kind in their names: "_flavour_0" is of "flavour, g"."""
    found: dict[str, str] = {}
    for output in outputs:
        title = f"_{output.name}" if output.name else ""
        own = {f"{title}_{index}": name for index, name in enumerate(output.names)}
        found |= {place: ", ".join(filter(None, (output.name, name))) for place, name in own.items()}
        found[title] = output.name
    return found


def scored(forms: Mapping[str, Floats]) -> list[Scored]:
    """Return forms with the line that each is drawn with."""
    return [Scored(name, _LINES.get(name, "o"), values) for name, values in forms.items()]  # type: ignore[arg-type]


def _classes(output: Judged, folder: Path) -> Pictures:
    title, names = f"_{output.name}" if output.name else "", output.names
    yield f"roc{title}", physics.roc(scored(output.forms), output.truth, names, folder / f"roc{title}")
    confused = {name: values for name, values in output.forms.items() if name in ("baseline", "hepprune")}
    yield f"confusion{title}", distributions.confusion(confused, output.truth, names, folder / f"confusion{title}")
    for index, name in enumerate(names):
        place = f"scores{title}_{index}"
        own = scored({form: values[:, index] for form, values in output.forms.items()})
        is_own = (output.truth == index).astype(int)
        yield place, distributions.scores(own, is_own, ("others", name), f"probability of {name}", folder / place)


def _labels(output: Judged, folder: Path) -> Pictures:
    title = f"_{output.name}" if output.name else ""
    for index, name in enumerate(output.names):
        own = {form: values[:, index] for form, values in output.forms.items()}
        truth = (output.truth[:, index] > 0.5).astype(int)
        if 0 < truth.sum() < len(truth):
            own_title = f"{title}_{index}" if len(output.names) > 1 else title
            yield from _separation(own, truth, ("no", "yes"), name=name, place=folder, title=own_title)


def _values(output: Judged, folder: Path) -> Pictures:
    title = f"_{output.name}" if output.name else ""
    if output.score is None:
        yield from _met(output, folder, title)
    if output.signal is None:
        return
    truth, score = output.signal.astype(int), _score(output)
    own = {form: score(values) for form, values in output.forms.items()}
    if 0 < truth.sum() < len(truth):
        name = output.score or output.names[0]
        yield from _separation(own, truth, ("background", "signal"), name=name, place=folder, title=title)
        if output.n_bunches is not None:
            place = f"rate{title}"
            yield place, physics.rates(scored(own), truth, output.n_bunches, name, folder / place)


def _score(output: Judged) -> Callable[[Floats], Floats]:
    if output.score == "mse":
        return lambda values: metrics.mse(values, output.truth)
    return metrics.mu2 if output.score == "mu2" else lambda values: values[:, 0]


def _separation(
    own: Mapping[str, Floats], truth: Any, kinds: tuple[str, str], *, name: str, place: Path, title: str
) -> Pictures:
    """Yield how well the second kind is told from the first by a score (n_jets,)."""
    columns = scored({form: values[:, None] for form, values in own.items()})
    roc, scores = (place / f"{kind}{title}" for kind in ("roc", "scores"))
    yield roc.name, physics.roc(columns, 1 - truth, kinds[1:], roc, least=0.0)
    yield scores.name, distributions.scores(scored(own), truth, kinds, name, scores)


def _met(output: Judged, folder: Path, title: str) -> Pictures:
    """Yield response and turn-on of every value that is to be met, the response where the truth is never zero."""
    for index, name in enumerate(output.names):
        truth = np.asarray(output.truth[:, index], float)
        own = scored({form: values[:, index] for form, values in output.forms.items()})
        own_title = f"{title}_{index}" if len(output.names) > 1 else title
        if truth.all():
            place = f"response{own_title}"
            yield place, physics.response(own, truth, name, folder / place)
        if physics.has_turn_on(truth):
            place = f"turn_on{own_title}"
            yield place, physics.turn_on(own, truth, name, folder / place)


_KINDS: dict[str, Callable[[Judged, Path], Pictures]] = {"classes": _classes, "labels": _labels, "values": _values}
