"""Sentences about files of strangers: one line, nothing that steers a terminal or is taken for markup, not endless."""

import time

from hepprune.errors import DataError, ReportError


def test_a_sentence_stays_one_line_and_steers_no_terminal() -> None:
    hostile = "a\nb \x1b[2Jc\u2028d\x9be"
    assert str(ReportError(f"'{hostile}' is not a report")) == "'a b [2Jc d e' is not a report"


def test_an_endless_quotation_is_cut_in_its_middle() -> None:
    sentence = str(DataError("'" + "9" * 10**6 + "' is too large"))
    assert len(sentence) < 2000
    assert sentence.endswith("9' is too large")


def test_blanks_are_kept_and_take_linear_time() -> None:
    start = time.process_time()
    sentence = str(DataError("'a" + " " * 10**6 + "b'"))
    assert time.process_time() - start < 1
    assert sentence.startswith("'a    ")
    assert str(DataError("'a  b \t c'")) == "'a  b c'"
