"""Scores as results show them: values with errors, in points where they are fractions of jets."""

import numpy as np
import pytest

from hepprune import metrics
from hepprune.metrics import Score, scores
from hepprune.metrics.scores import Difference, Stated


def test_values_print_with_their_errors_in_the_form_asked_for() -> None:
    assert f"{Stated(0.65432, 0.00321):.4f}" == "0.6543 ± 0.0032"
    assert f"{Stated(0.65432, None):+.2f}" == "+0.65"
    assert f"{Difference(0.5, 0.25):+.2f}" == "+0.50 ± 0.25"


def test_differences_are_told_in_points_where_they_are_fractions_of_jets() -> None:
    assert scores.change("accuracy", Difference(0.0047, 0.0015)) == "+0.47 ± 0.15 points of accuracy"
    assert scores.change("tag.label_accuracy", Difference(-0.01, 0.001)) == "-1.00 ± 0.10 points of tag.label accuracy"
    assert scores.change("auc", Difference(0.005, 0.0005)) == "AUC +0.0050 ± 0.0005"
    assert scores.change("mean_squared_error", Difference(-12.3456, 0.5)) == "mean squared error -12.35 ± 0.5"
    assert scores.change("tag.rejection(0.5)", Difference(1.25, 0.5)) == "tag.rejection(0.5) +1.25 ± 0.5"
    assert (scores.amount("accuracy", 0.01), scores.amount("auc", 0.01)) == ("1.00 points", "0.0100")
    assert scores.headline({"label_auc": Stated(0.9, 0.01), "x": Stated(1, 1)}) == "label AUC 0.9000 ± 0.0100"


def test_means_over_networks_have_the_error_of_their_spread() -> None:
    found = scores.means([{"auc": Stated(value, 0.1)} for value in (0.6, 0.7, 0.8)])["auc"]
    assert (found.value, found.error) == pytest.approx((0.7, 0.1 / np.sqrt(3)))
    assert scores.mean([0.5]) == Stated(0.5, None)


def test_less_of_an_error_is_a_gain_and_of_an_accuracy_a_loss() -> None:
    assert (metrics.lost("accuracy", -0.1), metrics.lost("pt.mean_squared_error", -0.1)) == (0.1, -0.1)


def test_metrics_are_stated_and_compared_by_name_and_in_order() -> None:
    first = {name: Score(value, np.array([-1.0, 1.0])) for name, value in (("b", 3.0), ("a", 1.0))}
    second = {name: Score(0.0, np.array([-1.0, 1.0])) for name in ("a", "b")}
    assert metrics.stated(first) == {"b": Stated(3.0, 1 / np.sqrt(2)), "a": Stated(1.0, 1 / np.sqrt(2))}
    found = metrics.differences(first, second)
    assert found == {"b": Difference(3.0, 0.0), "a": Difference(1.0, 0.0)}
    assert scores.primary(found).significant
