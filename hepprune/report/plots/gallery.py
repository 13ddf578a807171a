"""Every plot of what outputs are on the test jets, by the kind of each output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hepprune import metrics
from hepprune.metrics import Floats
from hepprune.report.designs import Judged
from hepprune.report.plots import distributions, physics
from hepprune.report.plots.physics import Scored

Pictures = Iterator[tuple[str, Callable[[Path], list[Path]]]]
_LINES = {"baseline": "-", "uniform": ":", "hepprune": "--"}  # all others are hardware, and have markers


def draw(outputs: Sequence[Judged], folder: Path) -> dict[str, list[Path]]:
    """Draw what belongs to each output, png and pdf, and return the files by the name of the plot."""
    named = [(output, f"_{output.name}" if output.name else "") for output in outputs]
    pictures = chain.from_iterable(_KINDS[output.kind](output, title) for output, title in named)
    return {name: draw(folder / name) for name, draw in pictures}


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


def _classes(output: Judged, title: str) -> Pictures:
    names = output.names
    yield f"roc{title}", partial(physics.roc, scored(output.forms), output.truth, names)
    confused = {name: values for name, values in output.forms.items() if name in ("baseline", "hepprune")}
    yield f"confusion{title}", partial(distributions.confusion, confused, output.truth, names)
    for index, name in enumerate(names):
        own = scored({form: values[:, index] for form, values in output.forms.items()})
        kinds = (output.truth == index).astype(int), ("others", name)
        yield f"scores{title}_{index}", partial(distributions.scores, own, *kinds, f"probability of {name}")


def _labels(output: Judged, title: str) -> Pictures:
    for index, name in enumerate(output.names):
        own = {form: values[:, index] for form, values in output.forms.items()}
        truth = (output.truth[:, index] > 0.5).astype(int)
        if 0 < truth.sum() < len(truth):
            own_title = f"{title}_{index}" if len(output.names) > 1 else title
            yield from _separation(own, truth, ("no", "yes"), name=name, title=own_title)


def _values(output: Judged, title: str) -> Pictures:
    if output.score is None:
        yield from _met(output, title)
    if output.signal is None:
        return
    truth, score = output.signal.astype(int), _score(output)
    own = {form: score(values) for form, values in output.forms.items()}
    if 0 < truth.sum() < len(truth):
        name = output.score or output.names[0]
        yield from _separation(own, truth, ("background", "signal"), name=name, title=title)
        if output.n_bunches is not None:
            yield f"rate{title}", partial(physics.rates, scored(own), truth, output.n_bunches, name)


def _score(output: Judged) -> Callable[[Floats], Floats]:
    if output.score == "mse":
        return lambda values: metrics.mse(values, output.truth)
    return metrics.mu2 if output.score == "mu2" else lambda values: values[:, 0]


def _separation(own: Mapping[str, Floats], truth: Any, kinds: tuple[str, str], *, name: str, title: str) -> Pictures:
    """Yield how well the second kind is told from the first by a score (n_jets,)."""
    columns = scored({form: values[:, None] for form, values in own.items()})
    yield f"roc{title}", partial(physics.roc, columns, 1 - truth, kinds[1:], least=0.0)
    yield f"scores{title}", partial(distributions.scores, scored(own), truth, kinds, name)


def _met(output: Judged, title: str) -> Pictures:
    """Yield response and turn-on of every value that is to be met, the response where the truth is never zero."""
    for index, name in enumerate(output.names):
        truth = np.asarray(output.truth[:, index], float)
        own = scored({form: values[:, index] for form, values in output.forms.items()})
        own_title = f"{title}_{index}" if len(output.names) > 1 else title
        if truth.all():
            yield f"response{own_title}", partial(physics.response, own, truth, name)
        if physics.has_turn_on(truth):
            yield f"turn_on{own_title}", partial(physics.turn_on, own, truth, name)


_KINDS: dict[str, Callable[[Judged, str], Pictures]] = {"classes": _classes, "labels": _labels, "values": _values}
