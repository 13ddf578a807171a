"""Two runs in one build folder: the second says that it waits, and goes on when the first has ended."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hepprune import pipeline, recipe
from hepprune.errors import NetworkError
from hepprune.pipeline.context import locked, silent

DEFAULT = Path(__file__).parents[2] / "hls_projects" / "jet_tagger" / "recipe.yaml"


def test_the_second_waits_and_says_so(tmp_path: Path) -> None:
    said, waits, order = list[str](), threading.Event(), list[str]()

    @contextmanager
    def track(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        assert total is None
        said.append(name)
        waits.set()
        yield lambda *_, **__: None

    def second() -> None:
        with locked(tmp_path / "build", track):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "build", silent):
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert said == ["waiting for another run in the same build folder"]


def test_a_run_that_failed_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path, silent):
        _ = 1 / 0
    with locked(tmp_path, silent):
        pass


def test_a_folder_that_no_script_can_quote_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"no build script can quote; take another folder"):
        pipeline.run(recipe.load(DEFAULT), build=tmp_path / "two\nlines")
    assert not list(tmp_path.iterdir())
