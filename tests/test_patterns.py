"""Every regular expression of the package, as it is used, takes time that does not grow with the square of its text."""

import ast
import importlib
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import hepprune

PACKAGE = Path(hepprune.__file__).parent
METHODS = "match|fullmatch|search|sub|findall|finditer|split"
LENGTH, LIMIT_S = 30_000, 1.0

Case = tuple[str, str | bytes, int, str]  # where, pattern, flags, method


def _cases() -> Iterator[Case]:
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if re.search(r"^(import|from) re\b", source, re.MULTILINE):
            where = str(path.relative_to(PACKAGE))
            yield from _written_out(where, source)
            yield from _kept(where, source, path)


def _written_out(where: str, source: str) -> Iterator[Case]:
    """Yield the patterns inside calls such as `re.search(r"...", text)`; what is filled in becomes a word."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and re.fullmatch(rf"re\.({METHODS})", ast.unparse(node.func))):
            continue
        parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
        words = [part.value if isinstance(part, ast.Constant) else "LUT" for part in parts]
        if all(isinstance(word, str) for word in words) and "".join(map(str, words)) != "LUT":
            flags = re.MULTILINE if "re.MULTILINE" in ast.unparse(node) else 0
            yield f"{where}:{node.lineno}", "".join(map(str, words)), flags, ast.unparse(node.func)[3:]


def _kept(where: str, source: str, path: Path) -> Iterator[Case]:
    """Yield the compiled patterns that a module keeps, with each method that it calls on them."""
    name = ".".join(["hepprune", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for key, value in vars(importlib.import_module(name)).items():
        for pattern in _patterns(value) if re.search(rf"^{key}\b[^=\n]*=", source, re.MULTILINE) else ():
            named = re.findall(rf"\b{key}\.({METHODS})\(", source) or re.findall(rf"\bpattern\.({METHODS})\(", source)
            named = re.findall(rf"\b{key}\.({METHODS})\(", source) or re.findall(rf"\bpattern\.({METHODS})\(", source)
            methods = set(named) or {"search"}
            for method in sorted(methods):
                yield f"{where}:{key}", pattern.pattern, pattern.flags, method


def _patterns(value: Any) -> Iterable["re.Pattern[Any]"]:
    """Return a compiled pattern, or those that the records of a table hold."""
    if isinstance(value, re.Pattern):
        return [value]
    records = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    fields = [vars(record).values() for record in records if hasattr(record, "__dataclass_fields__")]
    return [each for found in fields for each in found if isinstance(each, re.Pattern)]


CASES = sorted(set(_cases()), key=str)


def test_the_patterns_are_found() -> None:
    assert {"errors.py:_GAPS", "frontends/pytorch/__init__.py:_FACTORY"} <= {where for where, *_ in CASES}
    assert len(CASES) > 60


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[3]}")
def test_no_text_takes_quadratic_time(case: Case) -> None:
    where, pattern, flags, method = case
    compiled = re.compile(pattern, flags)
    words: Any = re.sub(r"\\.|[^\w ]", "", pattern) if isinstance(pattern, str) else pattern
    matching = st.from_regex(compiled) | st.just(words)  # some with \\b at their ends cannot be drawn

    @settings(max_examples=25, derandomize=True, phases=[Phase.generate])
    @given(st.data())
    def check(data: st.DataObject) -> None:
        text = data.draw(matching)
        place, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(1, 3))
        none, end = (b"", b"\0") if isinstance(text, bytes) else ("", "\0")
        blank: Any = b" " if isinstance(text, bytes) else " "
        piece = data.draw(st.sampled_from([text[place : place + length] or blank, blank]))
        rest = data.draw(st.sampled_from([none, end, text[place + length :], text]))
        hostile = text[:place] + piece * (LENGTH // len(piece)) + rest
        start = time.process_time()
        found = getattr(compiled, method)(*((none, hostile) if method == "sub" else (hostile,)))
        list(found) if method == "finditer" else found
        assert time.process_time() - start < LIMIT_S, f"{where} {method} {hostile[:60]!r}"

    check()
