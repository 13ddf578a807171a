"""Which of two epochs is better: by a monitored metric where it tells them apart, else by the loss."""

import numpy as np
import pytest

from hepprune.metrics import Score
from hepprune.training.passes import Validated

RNG = np.random.default_rng(1)
PULLS = RNG.normal(0, 0.2, 400)  # an error of 0.01, which neighbouring epochs have nearly in common
NOISE = RNG.normal(0, 0.02, 400)  # an error of their difference of 0.001


def epoch(loss: float, value: float, name: str | None = "auc", *, noise: float = 0.0) -> Validated:
    score = Score(value, PULLS + noise * NOISE)
    return Validated(loss=loss, regret=loss, primary=score, monitored=None if name is None else (name, score))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (epoch(0.5, 0.80, None), epoch(0.6, 0.90, None)),  # the loss decides
        (epoch(0.6, 0.905, noise=1), epoch(0.5, 0.900)),  # beyond the paired error, though within its own
        (epoch(0.5, 0.9000, noise=1), epoch(0.6, 0.9005)),  # within it the loss does
        (epoch(0.5, 0.9), epoch(0.6, 0.9)),  # as of a tie
        (epoch(0.6, 0.1, "mean_squared_error", noise=1), epoch(0.5, 0.2, "mean_squared_error")),  # less is better
    ],
)
def test_an_epoch_beats_another(first: Validated, second: Validated) -> None:
    assert first.beats(second)
    assert not second.beats(first)
