"""A name of a type means one thing in the whole package."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import hepprune


def test_types_do_not_share_names() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for path in Path(hepprune.__file__).parent.rglob("*.py"):
        for made in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(made, ast.ClassDef):
                meanings[made.name].add(f"{path}:{made.lineno}")
            elif isinstance(made, ast.Assign) and re.fullmatch(
                "_*[A-Z]+[a-z][A-Za-z0-9]*", name := ast.unparse(made.targets[0])
            ):
                meanings[name].add(ast.unparse(made.value))  # an alias of a type
    assert {name: sorted(found) for name, found in meanings.items() if len(found) > 1} == {}
