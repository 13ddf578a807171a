"""Names with arguments, as a recipe writes them, and every mistake in them."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune import metrics
from hepprune.errors import DataError
from hepprune.metrics import Conditions, Sides
from hepprune.metrics.working_points import EfficiencyAtBackground, EfficiencyAtRate

JETS = Conditions(classes=("q", "g", "W/Z", "mse"), n_bunches=2544)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", metrics.accuracy),
        (" auc ", metrics.auc),
        ("auc()", metrics.auc),
        ("auc(1)", metrics.Auc(Sides((1,)))),
        ("auc(g/q)", metrics.Auc(Sides((1,), (0,)))),
        ("auc( of = W/Z )", metrics.Auc(Sides((2,)))),
        ("auc(mse)", metrics.Auc(Sides((3,)))),
        ("auc(mu2)", metrics.Auc("mu2")),
        ("rejection(0.5, g)", metrics.Rejection(0.5, Sides((1,)))),
        ("rejection(50 %)", metrics.Rejection(0.5)),
        ("rejection(of=g, efficiency=5e-1)", metrics.Rejection(0.5, Sides((1,)))),
        ("efficiency_at_background(.1%)", EfficiencyAtBackground(0.001)),
        ("efficiency_at_rate(5 kHz)", EfficiencyAtRate(5.0, n_bunches=2544)),
        ("efficiency_at_rate(5000Hz, n_bunches=2760)", EfficiencyAtRate(5.0, n_bunches=2760)),
        ("efficiency_at_rate(0.04 MHz, g/q)", EfficiencyAtRate(40.0, Sides((1,), (0,)), n_bunches=2544)),
        ("resolution", metrics.Resolution()),
        ("resolution(relative)", metrics.Resolution(relative=True)),
        ("resolution(68 %, relative)", metrics.Resolution(0.68, relative=True)),
        ("resolution(relative=false)", metrics.Resolution()),
        ("tails(3)", metrics.Tails(3.0)),
        ("response(20, 40)", metrics.Response(20.0, 40.0)),
        ("calibration_error", metrics.CalibrationError(15)),
        ("calibration_error(20)", metrics.CalibrationError(20)),
    ],
)
def test_a_name_is_read_as_it_is_meant(name: str, expected: object) -> None:
    assert metrics.find(name, JETS) == expected


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rejecton(0.5)", r"unknown metric 'rejecton'; choose one of: rejection\(0.5\), "),
        ("rejection", r"'rejection' lacks efficiency; write for instance rejection\(0.5\)"),
        ("rejection(1.5)", "the fraction 1.5 does not lie between 0 and 1"),
        ("rejection(0)", "the fraction 0 does not lie between 0 and 1"),
        ("rejection(half)", "'half' is not a fraction"),
        ("rejection(0.5, 0.4, 0.3)", "unknown class '0.4'"),
        ("rejection(0.5, g, q)", "has an argument too many, 'q'; it takes: efficiency, of"),
        ("rejection(0.5, efficiency=0.4)", "gives efficiency twice"),
        ("rejection(0.5, off=g)", r"unknown argument of 'rejection\(0.5, off=g\)' 'off'; choose one of: of, "),
        ("rejection(0.5,)", "unknown class ''"),
        ("rejection(0.5", "is not the name of a metric"),
        ("rejection(0.5) or 1", "is not the name of a metric"),
        ("", "is not the name of a metric"),
        ("a" * 500, "is not the name of a metric"),
        ("auc(t)", "unknown class 't'; choose one of: W/Z, g, mse, q"),
        ("auc(g/g)", "names a class as signal and as background"),
        ("efficiency_at_rate(5)", "'5' is not a rate with its unit, such as 5 kHz"),
        ("efficiency_at_rate(-5 kHz)", "'-5 kHz' is not above zero"),
        ("efficiency_at_rate(5 kHz, n_bunches=2.5)", "'2.5' is not a whole number"),
        ("efficiency_at_rate(1e999 kHz)", "is not a rate"),
        ("calibration_error(0)", "'0' is not a whole number from 1 to 1000000"),
        ("calibration_error(1e300)", "'1e300' is not a whole number from 1 to 1000000"),
        ("calibration_error(99999999999)", "'99999999999' is not a whole number from 1 to 1000000"),
        ("tails(0)", "'0' is not above zero"),
        ("accuracy(3)", "the metric 'accuracy' takes no arguments"),
        ("resolution(relative=maybe)", "unknown value 'maybe'; choose one of: false, true"),
        ("__import__(1)", "unknown metric '__import__'"),
    ],
)
def test_a_mistake_in_a_name_ends_in_one_sentence(name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        metrics.find(name, JETS)


def test_what_is_left_out_of_a_name_has_to_come_from_the_conditions() -> None:
    with pytest.raises(
        DataError, match=r"lacks n_bunches; write for instance efficiency_at_rate\(5 kHz, n_bunches=2760"
    ):
        metrics.find("efficiency_at_rate(5 kHz)")
    with pytest.raises(
        DataError, match="'t' is not the number of a class, counted from 0, and the classes have no names"
    ):
        metrics.find("auc(t)")


@given(st.text(max_size=40) | st.from_regex(r"(auc|rejection|tails|own)[(:][ -~]{0,20}[)]?", fullmatch=True))
def test_any_text_is_a_metric_or_refused(name: str) -> None:
    with contextlib.suppress(DataError):
        assert callable(metrics.find(name, Conditions(folder=Path("nowhere"))))


@pytest.mark.parametrize("kind", ["classes", "labels", "values"])
def test_only_metrics_that_suit_the_outputs_are_found(kind: str) -> None:
    suited = {"accuracy": "classes", "label_auc": "labels", "bias": "values", "mean_squared_error": "values"}
    for name, own in suited.items():
        if own == kind:
            assert callable(metrics.find(name, judging=kind))
        else:
            with pytest.raises(DataError, match=f"unknown metric '{name}'; choose one of: "):
                metrics.find(name, judging=kind)
    assert callable(metrics.find("rejection(0.5)", judging=kind))


def test_each_says_which_side_is_better() -> None:
    for name in (
        "cross_entropy",
        "resolution",
        "pt.resolution(68 %)",
        "tails(3)",
        "absolute_bias",
        "calibration_error(5)",
    ):
        assert metrics.lost(name, 0.1) == 0.1
    for name in ("accuracy", "auc", "label.auc(g)", "label.rejection(0.5)", "efficiency_at_rate(5 kHz)"):
        assert metrics.lost(name, 0.1) == -0.1
    for name in ("bias", "response(20, 40)", "pt.bias(relative)"):
        with pytest.raises(DataError, match="neither more nor less of .* is better"):
            metrics.lost(name, 0.1)
    with pytest.raises(DataError, match="neither more nor less"):
        metrics.find("bias").lower_is_better  # type: ignore[attr-defined]  # noqa: B018 -- as a search asks
    with pytest.raises(DataError, match="unknown metric 'acuracy'; choose one of: "):
        metrics.lost("acuracy", 0.1)
    with pytest.raises(DataError, match="'nowhere:never' has not been read"):
        metrics.lost("nowhere:never", 0.1)


def test_a_metric_itself_says_which_side_is_better() -> None:
    def worst(raw: np.ndarray, truth: np.ndarray) -> metrics.Score:
        return metrics.mean(np.abs(raw - truth))

    assert not metrics.is_lower_better(worst)
    worst.lower_is_better = True  # type: ignore[attr-defined]
    assert metrics.lost(worst, 0.5) == 0.5
    for name in ("accuracy", "cross_entropy", "rejection(0.5)", "resolution(68 %)", "mean_squared_error"):
        assert metrics.is_lower_better(metrics.find(name)) == metrics.is_lower_better(name)
    with pytest.raises(DataError, match="neither more nor less"):
        metrics.lost(metrics.find("bias"), 0.5)


def test_metrics_of_other_arguments_have_other_names() -> None:
    names = [metrics.name_of(metrics.find(f"rejection({each})")) for each in (0.5, 0.3)]
    assert names == ["Rejection(efficiency=0.5, of=None)", "Rejection(efficiency=0.3, of=None)"]
