"""The table of layers in the docs names what the frontends really know."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import hepprune
from hepprune.frontends.keras.registry import LAYERS

DOCS = Path(hepprune.__file__).parents[1] / "docs" / "models.md"
COLUMNS = {1: "keras", 2: "keras", 3: "keras", 4: "pytorch", 5: "onnx"}


def rows() -> list[list[str]]:
    text = DOCS.read_text(encoding="utf-8").partition("## Layer by layer")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"][2:]


def known(frontend: str) -> set[str]:
    import_module(f"hepprune.frontends.{frontend}")
    if frontend == "keras":
        return set(LAYERS)
    import_module(f"hepprune.frontends.{frontend}.operators")
    registry = import_module(f"hepprune.frontends.{frontend}.operators.registry")
    return set(registry.OPERATORS)


@pytest.mark.parametrize("column", COLUMNS)
def test_the_layers_in_the_docs_are_read(column: int) -> None:
    named = {name for row in rows() for name in re.findall(r"`([\w.]+)`", row[column])}
    assert len(named) > 5
    assert named <= known(COLUMNS[column])
