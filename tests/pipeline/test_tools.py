"""What a run waits for once per environment."""

from pathlib import Path

import pytest

from hepprune.pipeline import tools


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


def test_what_did_not_compile_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_note", lambda: tmp_path / "note")
    monkeypatch.setattr(tools, "_WARM_UP", "raise SystemExit(1)")
    with tools.compiling() as compiled:
        compiled()
    assert not (tmp_path / "note").exists()
