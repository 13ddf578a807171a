"""Texts in other languages: every value has its place, and none is left open."""

import pytest

from hepprune.firmware import texts


def test_values_stand_where_the_text_asks_for_them() -> None:
    found = texts.filled("emulator.mk", name="small", top="top")
    assert "small" in found
    assert "@name" not in found


def test_a_value_without_a_place_is_refused() -> None:
    with pytest.raises(KeyError, match="nobody"):
        texts.filled("emulator.mk", nobody=1)
