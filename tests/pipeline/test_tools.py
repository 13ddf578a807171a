"""What a run waits for once per environment, and what it refuses to start without."""

import sys
from pathlib import Path

import pytest

from hepprune import recipe
from hepprune.errors import RecipeError, ToolMissingError
from hepprune.pipeline import tools
from tests.pipeline.test_firmware import DEFAULT


def test_what_an_environment_has_compiled_is_not_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "ran"
    monkeypatch.setattr(tools, "_note", lambda: tmp_path / "note")
    monkeypatch.setattr(tools, "_WARM_UP", f"open({str(trace)!r}, 'a').write('once ')")
    for _ in range(2):
        with tools.compiling() as compiled:
            compiled()
    assert trace.read_text() == "once "
    monkeypatch.setenv("NUMBA_CACHE_DIR", "another")
    with tools.compiling() as compiled:
        compiled()
    assert trace.read_text() == "once once "


def test_a_solver_that_is_missing_or_of_no_use_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = recipe.load(DEFAULT).model_copy(update={"synthesis": recipe.Synthesis(solver="alkaid")})
    monkeypatch.setitem(sys.modules, "alkaid", None)
    with pytest.raises(ToolMissingError, match="^solver 'alkaid' is missing; install it with `pip install alkaid`$"):
        tools.check(asked)
    with pytest.raises(
        RecipeError, match="synthesis.solver 'alkaid' solves .* strategy 'latency' makes an HLS project"
    ):
        tools.check(asked.model_copy(update={"strategy": "latency"}))


def test_what_did_not_compile_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_note", lambda: tmp_path / "note")
    monkeypatch.setattr(tools, "_WARM_UP", "raise SystemExit(1)")
    with tools.compiling() as compiled:
        compiled()
    assert not (tmp_path / "note").exists()
