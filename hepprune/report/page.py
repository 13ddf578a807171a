"""A result as one HTML file that opens from disk: nothing is fetched, and every name in it is escaped."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from hepprune.files import write_text

Cell = str | float | None
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?(?= ± |$)")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under columns, which a reader sorts by any of them."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG with what it shows in words, for those who cannot see it."""

    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """A heading with lines, tables, pictures and commands under it; a long one is `folded` until it is opened."""

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    commands: Sequence[str] = ()
    folded: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing under the heading."""
        return not (self.lines or self.tables or self.pictures or self.commands)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a reader sees: the verdict first, then sections. `good` is None where nothing was decided."""

    title: str
    verdict: str
    good: bool | None = None
    lines: Sequence[str] = ()
    sections: Sequence[PageSection] = field(default_factory=tuple)


def cell(value: object) -> Cell:
    """Return a value as a cell shows it: a number, or text."""
    return None if value is None else float(value) if isinstance(value, int | float) else str(value)


def render(page: Page) -> str:
    """Return the page as HTML, with its pictures, its style and its script in it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": shown, "key": _key}
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    shown_sections = [section for section in page.sections if not section.is_empty]
    return environment.from_string(template).render(page=page, sections=shown_sections)


def write(page: Page, path: Path) -> Path:
    """Write the page whole, and return its path."""
    return write_text(path, render(page))


def shown(cell: Cell) -> str:
    """Return a cell as text: whole numbers with separators, others with at least three significant digits."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if float(cell).is_integer() or abs(cell) >= 1000 else f"{cell:.3g}"


def _key(cell: Cell) -> str:
    """Return the number that a cell is or begins with, for sorting, or nothing where there is none."""
    if isinstance(cell, int | float):
        return repr(float(cell))
    found = _NUMBER.match((cell or "").replace(",", ""))
    return found.group() if found else ""


def pictures(folder: Path, captions: Iterable[tuple[str, str]]) -> tuple[Picture, ...]:
    """Return the pictures of a folder that are there, by name without suffix and caption."""
    there = ((folder / f"{name}.png", caption) for name, caption in captions)
    return tuple(Picture(caption=caption, png=path.read_bytes()) for path, caption in there if path.is_file())
