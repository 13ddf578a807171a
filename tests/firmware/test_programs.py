"""Missing programs and failing ones end in one sentence."""

from pathlib import Path

import pytest

from hepprune.errors import PrerequisiteError
from hepprune.firmware import programs


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=r"g\+\+ is missing, which the simulation needs"):
        programs.require("g++", what="the simulation")


def test_a_failing_program_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "bad.cpp").write_text("int main() { return nothing; }")
    with pytest.raises(PrerequisiteError, match="nothing"):
        programs.run(["g++", "bad.cpp"], folder=tmp_path, what="the simulation")
