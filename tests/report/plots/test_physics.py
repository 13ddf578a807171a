from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepprune.report import plots
from hepprune.report.plots import physics
from hepprune.report.plots.physics import Scored


@pytest.mark.slow
def test_roc_and_weights_are_written_as_png_and_pdf(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 300)
    scores = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
    forms = [Scored("baseline", "-", scores), Scored("firmware", "o", np.round(scores))]
    drawn = physics.roc(forms, labels, ["g", "q", "t"], tmp_path / "roc")
    drawn += physics.weight_histogram(
        (rng.normal(size=50), np.ones(50)), (np.zeros(1), np.array([20.0])), tmp_path / "weights"
    )
    assert [path.name for path in drawn] == ["roc.png", "roc.pdf", "weights.png", "weights.pdf"]
    assert all(path.read_bytes()[:4] in {b"\x89PNG", b"%PDF"} for path in drawn)


def test_a_plot_is_laid_out_once_and_drawn_once_for_each_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    draws: list[type] = []
    draw = Figure.draw

    def counted(self: Figure, renderer: Any) -> Any:
        draws.append(type(renderer))
        return draw(self, renderer)

    with plots.canvas() as (figure, axes):
        figure.colorbar(axes.imshow(np.eye(2)))
        monkeypatch.setattr(Figure, "draw", counted)
        plots.save(figure, tmp_path / "map")
    assert len(draws) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["$a_$", "\\frac{$x", "$$", "_hidden", "<b>top</b>", "a\nb", r"$\alpha$", "100%"])
def test_classes_are_shown_as_they_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def written(figure: Any, path: Path) -> list[Path]:
        shown.extend(text.get_text() for text in figure.axes[0].get_legend().get_texts())
        return plots.save(figure, path)

    monkeypatch.setattr(physics, "save", written)
    labels = np.arange(200) % 2
    form = Scored("baseline", "-", np.random.default_rng(0).normal(size=(200, 2)))
    assert all(path.exists() for path in physics.roc([form], labels, [name, "q"], tmp_path / "roc"))
    assert shown == [name, "q"]


@pytest.mark.slow
def test_the_response_shows_the_median_of_value_over_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(20, 100, 4000)
    shown: dict[str, Any] = {}

    def written(figure: Any, path: Path) -> list[Path]:
        shown.update({each.get_label(): each.lines[0].get_ydata() for each in figure.axes[0].containers})
        shown["width"] = {each.get_label(): each.lines[0].get_ydata() for each in figure.axes[1].containers}
        shown["x"] = figure.axes[1].get_xlabel()
        return plots.save(figure, path)

    monkeypatch.setattr(physics, "save", written)
    spread = Scored("firmware", "o", truth * (1 + 0.1 * rng.normal(size=4000)))
    forms = [Scored("baseline", "-", truth.copy()), Scored("hepprune", "--", 1.1 * truth), spread]
    assert [path.suffix for path in physics.response(forms, truth, "true_$pt", tmp_path / "response")] == [
        ".png",
        ".pdf",
    ]
    assert len(shown["baseline"]) == 10
    assert shown["baseline"] == pytest.approx(np.ones(10))
    assert shown["hepprune"] == pytest.approx(np.full(10, 1.1))
    assert shown["width"]["firmware"] == pytest.approx(np.full(10, 0.1), rel=0.2)
    assert shown["width"]["hepprune"] == pytest.approx(np.zeros(10), abs=1e-6)
    assert shown["x"] == "true_$pt, truth"
