"""What a release says of itself in several places is the same in all: versions, and lists of packages."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _group(name: str) -> set[str]:
    """Return what a group asks for, with that of the groups within it."""
    found: set[str] = set()
    for entry in PROJECT["dependency-groups"][name]:
        found |= {str(Requirement(entry))} if isinstance(entry, str) else _group(entry["include-group"])
    return found


def _lines(name: str) -> set[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return {str(Requirement(line)) for line in lines if line}


def test_an_older_pip_installs_what_the_dev_group_says() -> None:
    assert _lines("requirements-dev.txt") == _group("dev")


def test_the_pins_are_within_what_is_allowed() -> None:
    pins = {Requirement(line).name.lower().replace("_", "-"): line.split("==")[1] for line in _lines("constraints.txt")}
    extras = [
        entry for name, extra in PROJECT["project"]["optional-dependencies"].items() if name != "all" for entry in extra
    ]
    asked = [Requirement(entry) for entry in [*PROJECT["project"]["dependencies"], *extras, *_group("dev")]]
    outside = {
        str(entry): pins[entry.name.lower()]
        for entry in asked
        if not entry.specifier.contains(pins[entry.name.lower()])
    }
    assert not outside


def test_the_changelog_the_citation_and_an_archive_without_tags_are_of_one_version() -> None:
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == heading[1]
    assert PROJECT["tool"]["hatch"]["version"]["raw-options"]["fallback_version"] == f"{heading[1]}.dev0"
