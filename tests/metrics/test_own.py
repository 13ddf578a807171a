"""Metrics of your own: from a named folder or an installed package, and from nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from hepprune import metrics
from hepprune.errors import DataError
from hepprune.metrics import Conditions
from hepprune.task import Classes, Regression

GOOD = """
from hepprune import metrics

def hardest(logits, labels, weight=None):
    return metrics.mean(logits.max(axis=1), weight)

def softest(logits, labels, weight=None):
    return metrics.mean(logits.min(axis=1), weight)

softest.lower_is_better = True

def target(values, targets, weight=None):
    return metrics.mean(targets.mean(axis=1), weight)

def number(logits, labels):
    return 0.5

def short(logits, labels):
    return metrics.Score(0.5, labels[:1] * 0.0)

nothing = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    inner = tmp_path / "deep"
    inner.mkdir()
    (inner / "inside.py").write_text(GOOD)
    return tmp_path


def test_a_function_in_the_folder_judges_like_any_other(folder: Path) -> None:
    logits, labels, weight = np.eye(3), np.arange(3), np.array([1.0, 2.0, 0.0])
    found = metrics.find("mine:hardest", Conditions(folder=folder))
    assert found(logits, labels).value == 1.0
    assert found(logits * [[1], [2], [3]], labels, weight).value == pytest.approx(5 / 3)
    assert metrics.lost("mine:hardest", 0.5) == metrics.lost("label.mine:hardest", 0.5) == -0.5
    assert metrics.own("deep.inside:softest", folder).lower_is_better
    assert metrics.lost("deep.inside:softest", 0.5) == 0.5
    regression = Regression(conditions=Conditions(folder=folder)).scores(logits, logits, names=["mine:target"])
    assert regression["mine:target"].value == pytest.approx(1 / 3)
    task = Classes(Conditions(folder=folder))
    assert list(task.scores(logits, labels, names=["mine:hardest", "accuracy"])) == ["accuracy", "mine:hardest"]


def test_one_that_was_edited_is_told_from_the_one_before(folder: Path) -> None:
    before = metrics.own("mine:hardest", folder).content
    assert metrics.own_content("mine:hardest") == metrics.own_content("flavour.mine:hardest") == [before]
    (folder / "mine.py").write_text(GOOD.replace("max(axis=1)", "mean(axis=1)"))
    assert metrics.own("mine:hardest", folder).content != before
    assert metrics.own_content("mine:hardest") != [before]
    assert metrics.own_content("accuracy") == []


def test_an_installed_package_is_a_source(folder: Path) -> None:
    found = metrics.own("sklearn.metrics:accuracy_score", folder)
    with pytest.raises(DataError, match="'sklearn.metrics:accuracy_score' returns float"):
        found(np.array([0, 1]), np.array([0, 1]))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("os:system", "no installed package has that name"),
        ("builtins:eval", "no installed package has that name"),
        ("nowhere:metric", "has no such file"),
        ("nowhere.deeper:metric", "has no such file"),
        ("mine:missing", "'mine' has no function 'missing'"),
        ("mine:nothing", "'mine' has no function 'nothing'"),
        ("broken:metric", "the module of the metric 'broken:metric' does not run: division by zero"),
        ("mine:hardest()", "write module:function"),
        ("../mine:hardest", "write module:function"),
        (".mine:hardest", "write module:function"),
        ("mine:", "write module:function"),
    ],
)
def test_a_path_that_leads_nowhere_or_elsewhere_is_refused(folder: Path, path: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        metrics.own(path, folder)


def test_the_current_folder_and_links_out_of_the_given_one_are_no_source(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "linked.py").symlink_to(folder / "mine.py")
    for path in ("mine:hardest", "linked:hardest"):
        with pytest.raises(DataError, match="has no such file"):
            metrics.own(path, elsewhere)
    with pytest.raises(DataError, match="no folder is given"):
        metrics.own("mine:hardest")


@pytest.mark.parametrize(("name", "said"), [("number", "returns float"), ("short", "one influence for each jet")])
def test_what_is_no_score_of_these_jets_is_refused(folder: Path, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        metrics.own(f"mine:{name}", folder)(np.eye(3), np.arange(3))
