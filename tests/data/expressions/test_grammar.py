"""The grammar of expressions: which columns a text names, and that whatever is more than arithmetic is refused."""

import re

import pytest

from hepprune.data.expressions import grammar
from hepprune.errors import DataError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("pt", ["pt"]),
        ("jet.pt / jet.mass", ["jet.pt", "jet.mass"]),
        ("sum(first(cand_pt, 16)) / pt + pt", ["cand_pt", "pt"]),
        ("cand_pt[cand_bx == 0][1]", ["cand_pt", "cand_bx"]),
        ("(pt > 500) & ~(abs(eta) < 2.4) | isTight", ["pt", "eta", "isTight"]),
        ("0 < pt <= 20 and not flag == 'top'", ["pt", "flag"]),
        ("where(\n  pt > 1,\n  log(pt),\n  -1e3)", ["pt"]),
        ("(hwPt - 3) >> 2", ["hwPt"]),
        ("clip(x, -1, +1) ** 2 % 3 // 4", ["x"]),
    ],
)
def test_an_expression_names_its_columns(text: str, names: list[str]) -> None:
    assert list(grammar.names(text)) == names
    assert grammar.mentioned(text) == {text, *names}


def test_what_is_a_column_is_no_expression() -> None:
    known = ["a-b", "a", "b", "log(pt)"]
    assert grammar.columns(["a-b", "log(pt)", "a - b", "a"], known) == ["a-b", "log(pt)", "a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pt +", "'pt +' is neither a column nor an expression"),
        ("two words", "is neither a column nor an expression"),
        ("pt; 1", "is neither a column nor an expression"),
        ("a = 1", "is neither a column nor an expression"),
        ("1 + 2", "the expression '1 + 2' names no column"),
        ("__import__('os').system('id')", "unknown function '__import__('os').system'; choose one of: "),
        ("().__class__", "none of what an expression may have"),
        ("pt[-1]", "'pt[-1]' in 'pt[-1]' is none of what an expression may have"),
        ("pt[:2]", "':2' in 'pt[:2]' is none of what"),
        ("pt[0, 1]", "'0, 1' in 'pt[0, 1]' is none of what"),
        ("pt['a']", "'pt['a']' in"),
        ("pt[True]", "'pt[True]' in"),
        ("lambda: pt", "none of what an expression may have"),
        ("[x for x in pt]", "none of what an expression may have"),
        ("pt if flag else 0", "none of what an expression may have"),
        ("(x := pt)", "none of what an expression may have"),
        ("f'{pt}'", "none of what an expression may have"),
        ("pt @ pt", "'pt @ pt' in 'pt @ pt' is none of what"),
        ("pt is pt", "none of what"),
        ("pt in pt", "none of what"),
        ("pt ^ pt", "none of what"),
        ("~hw < 6", "the & | ~ bind before comparisons"),
        ("'text'", "none of what"),
        ("pt + 'text'", "''text'' in"),
        ("pt + 1j", "'1j' in"),
        ("pt + None", "'None' in"),
        ("lok(pt)", "unknown function 'lok'; choose one of: log, "),
        ("pt.sum()", "unknown function 'pt.sum'"),
        ("log(pt, 2)", "log is written log(x)"),
        ("where(pt)", "where is written where(condition, yes, no)"),
        ("log(x=pt)", "log is written log(x)"),
        ("log(*pt)", "log is written log(x)"),
        ("min()", "min is written min(x) over constituents, or min(x, y)"),
        ("one_hot(pdg, 1) + 1", "one_hot is not alone"),
        ("pt > 10 & eta < 2", "the & | ~ bind before comparisons: put each comparison in parentheses"),
        ("(pt > 10 | eta < 2)", "put each comparison in parentheses"),
        ("1 + " * 900 + "pt", "longer than 2000"),
        ("-" * 500 + "pt", "more than 100 deep"),
        ("(" * 500 + "pt" + ")" * 500, "nor an expression"),
        ("pt\x00", "nor an expression"),
    ],
)  # fmt: skip
def test_more_than_the_grammar_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        grammar.names(text)
    assert grammar.mentioned(text) == {text}


def test_bits_are_tested_in_parentheses() -> None:
    assert grammar.names("(flags & 4) > 0") == ("flags",)


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("pt", ("pt",)),
        ("two words", ("two words",)),
        ("log(pt)", ("log(pt)",)),
        ("one_hot(pdg, 1, 2)", ("pdg == 1", "pdg == 2")),
        ("one_hot(cand.id, -11, 'x')", ("cand.id == -11", "cand.id == 'x'")),
        ("one_hot(abs(id), 11)", ("abs(id) == 11",)),
        ("one_hot(a + b, 11)", ("(a + b) == 11",)),
        ("leading(pt, 2)", ("pt[0]", "pt[1]")),
        ("leading(pt[bx == 0], 1)", ("pt[bx == 0][0]",)),
        ("leading(pt / m, 1)", ("(pt / m)[0]",)),
    ],
)
def test_one_text_may_stand_for_several_features(text: str, features: tuple[str, ...]) -> None:
    assert grammar.expanded(text) == features


@pytest.mark.parametrize("text", ["one_hot(pdg)", "one_hot(pdg, 1.5)", "one_hot(pdg, x)", "one_hot(pdg, codes=3)"])
def test_one_hot_without_codes_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="takes a column and its codes, whole numbers or text"):
        grammar.expanded(text)


@pytest.mark.parametrize("text", ["leading(pt)", "leading(pt, 0)", "leading(pt, n)", "leading(pt, 10**9)"])
def test_leading_ones_without_their_number_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="takes a column of lists and how many of each, 1 to 1000"):
        grammar.expanded(text)
