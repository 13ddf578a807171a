"""The pages of the documentation: their blocks, and the commands that they show."""

import re
import shlex
from itertools import dropwhile, groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_OURS = {"hepprune", "make", "nox", "python"}


def fences(page: Path, *kinds: str) -> list[str]:
    """Return the blocks of a page, those of some kinds alone where any is named."""
    return [body for kind, body in _FENCE.findall(page.read_text(encoding="utf-8")) if not kinds or kind in kinds]


def kinds(page: Path) -> set[str]:
    """Return the kinds of blocks that a page has."""
    return {kind for kind, _ in _FENCE.findall(page.read_text(encoding="utf-8"))}


def commands(page: Path) -> list[list[str]]:
    """Return the commands of a page's shell blocks, then of its workflows, each as its words; `&&` parts them."""
    steps = [line for body in fences(page, "yaml") for line in re.findall(r"^ +- run: (.*)$", body, re.MULTILINE)]
    return [part for line in (*_joined(page, "bash"), *steps) for part in _parts(line)]


def shown(page: Path) -> list[list[str]]:
    """Return all commands: those, our own in other blocks, and those within prose, where a synopsis may have choices."""
    other = [line for line in _joined(page, "") if line.split(" ")[0] in _OURS]
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    prose = [line for line in _INLINE.findall(text) if line.split()[0] in _OURS and len(line.split()) > 1]
    found = [*commands(page), *(shlex.split(line, comments=True) for line in (*other, *prose))]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


def _joined(page: Path, kind: str) -> list[str]:
    return [line.strip() for body in fences(page, kind) for line in body.replace("\\\n", " ").splitlines()]


def _parts(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;>")
    lexer.whitespace_split = True
    parts = [list(part) for joins, part in groupby(lexer, lambda word: set(word) <= set("&;")) if not joins]
    return [words for part in parts if (words := _bare(part))]


def _bare(words: list[str]) -> list[str]:
    """Return a command without the variables that are set before it and the file that its output goes to."""
    words = words[: words.index(">")] if ">" in words else words
    return list(dropwhile(lambda word: bool(re.match(r"[A-Z_]+=", word)), words))
