"""The bits that words are said to lie in are those of the Verilog's ports."""

import re

import numpy as np
import pytest

from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.firmware.verilog import patterns
from hepprune.fixed.interface import Word
from hepprune.network import Network, exact_logits
from tests.firmware.conftest import jets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def design(small: Network, tmp_path_factory: pytest.TempPathFactory) -> rtl.Design:
    folder = tmp_path_factory.mktemp("patterns") / "rtl"
    part = "xcvu13p-flga2577-2-e"
    return rtl.write_verilog(rtl.solve(small), folder, name="tagger", levels_per_cycle=3, part=part, clock_ns=5.0)


def test_the_words_fill_the_ports(small: Network, design: rtl.Design) -> None:
    top = (design.folder / "src" / "tagger.v").read_text()
    for words, port in zip(
        patterns.layout(design, inputs=list("abcd"), outputs=list("xyz")), ("model_inp", "model_out"), strict=True
    ):
        (high,) = re.findall(rf"put (?:reg )?\[(\d+):0\] {port}", top)
        assert words[-1].low + words[-1].width - 1 == int(high)
        assert all(low.low + low.width == high.low for low, high in zip(words, words[1:], strict=False))
    outputs = exact_logits(small, jets(small, 500))
    for word, column in zip(words, outputs.T, strict=True):
        assert word.kind is not None
        assert word.kind.holds(column).all()


def test_other_numbers_of_values_are_refused(design: rtl.Design) -> None:
    with pytest.raises(NetworkError, match="design 'tagger' has a port of 4 values and not of 3"):
        patterns.layout(design, inputs=list("abc"), outputs=list("xyz"))


def test_lines_hold_every_word_at_its_bits() -> None:
    words = [
        Word(name="a", type="fixed<8,4>", low=0, width=8),
        Word(name="always 0", low=8, width=0),
        Word(name="b", type="ufixed<3,1>", low=8, width=3),
        Word(name="c", type="fixed<52,20>", low=11, width=52),
        Word(name="d", type="fixed<10,5>", low=63, width=10),
    ]
    values = np.array([[-0.0625, 0, 1.75, -1, 15.96875], [7.9375, 0, 0.25, 2**18, -16]])
    assert patterns.packed(words, values) == [
        f"{0xFF | 7 << 8 | (2**52 - 2**32) << 11 | 511 << 63:019x}",
        f"{0x7F | 1 << 8 | 2**50 << 11 | 512 << 63:019x}",
    ]
