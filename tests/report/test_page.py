"""The page of a result: whole in itself, escaped, with numbers that people read and scripts sort."""

import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.report import page
from hepprune.report.page import Page, PageSection, Picture, Table

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40)


def one(text: str) -> Page:
    """Return a page that has a text everywhere a name of a user may stand."""
    table = Table(caption=text, columns=(text,), rows=[[text]])
    picture = Picture(caption=text, png=b"no picture")
    section = PageSection(title=text, lines=[text], tables=[table], pictures=[picture], commands=[text])
    return Page(title=text, verdict=text, lines=[text], sections=[section])


@given(TEXTS)
def test_no_name_becomes_markup(text: str) -> None:
    plain, written = (page.render(one(each)) for each in ("name", text))
    tags = re.compile(r"<[^>]*>")
    attributes = re.compile(r'(?<=")[^"]*(?=")')
    assert len(tags.findall(written)) == len(tags.findall(plain))
    assert [tag.split()[0] for tag in tags.findall(written)] == [tag.split()[0] for tag in tags.findall(plain)]
    assert html.escape(text, quote=False).strip() in html.unescape(written) or text.strip() in html.unescape(written)
    assert len(attributes.findall(written)) == len(attributes.findall(plain))


def test_nothing_is_fetched() -> None:
    written = page.render(one("name"))
    assert not re.search(r"https?://|//[a-z]|@import|url\(", written)
    assert "default-src 'none'" in written


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, ""), ("a", "a"), (3, "3"), (12447.0, "12,447"), (0.17858, "0.179"), (1234.5, "1,234"), (0.0, "0")],
)
def test_numbers_are_shown_as_people_read_them(cell: page.Cell, text: str) -> None:
    assert page.shown(cell) == text


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        (None, ""),
        ("a1", ""),
        ("12-8-5", ""),
        ("14,289", "14289"),
        ("+0.5 ± 0.1", "+0.5"),
        ("4e-05 ± 1e-06", "4e-05"),
        (3, "3.0"),
    ],
)
def test_columns_are_sorted_by_the_numbers_in_them(cell: page.Cell, key: str) -> None:
    table = Table(caption="c", columns=("n",), rows=[[cell]])
    written = page.render(Page(title="t", verdict="v", sections=[PageSection(title="s", tables=[table])]))
    assert f'<td data-key="{key}">' in written


def test_sections_without_anything_are_left_out_and_verdicts_are_marked() -> None:
    empty, good = PageSection(title="nothing to see"), Page(title="t", verdict="v", good=True)
    written = page.render(Page(title="t", verdict="v", good=False, sections=[empty]))
    assert "nothing to see" not in written
    assert 'class="verdict bad"' in written
    assert 'class="verdict good"' in page.render(good)


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    path = page.write(one("name"), tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page.render(one("name"))
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
