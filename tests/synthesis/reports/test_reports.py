from pathlib import Path

import pytest

from hepprune import synthesis
from hepprune.errors import ReportError
from hepprune.synthesis.reports import registry
from tests.reference import REPORTS


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    sample = REPORTS / "hls4ml-test-reports"
    for source, stage in (("myproject_csynth.xml", "csynth"), ("vivado_synth.rpt", "vsynth")):
        path = tmp_path / "download.txt"
        path.write_bytes((sample / source).read_bytes())
        assert synthesis.read(path, clock_ns=5.0).stage == stage


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b"<html></html>", b"| CLB LUTs | 5 |"])
def test_an_unknown_kind_lists_the_known_ones(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "strange"
    path.write_bytes(content)
    with pytest.raises(ReportError, match="csynth, .*vsynth, "):
        synthesis.read(path)


def test_no_text_and_no_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    with pytest.raises(ReportError, match="cannot be read"):
        synthesis.read(path)
    with pytest.raises(ReportError, match="cannot be read"):
        synthesis.read(tmp_path)
    path.write_bytes(b"<profile>\xff")
    with pytest.raises(ReportError, match="byte 9 is not UTF-8"):
        synthesis.read(path)


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("wb") as file:
        file.truncate(registry.MAX_BYTES + 1)
    with pytest.raises(ReportError, match="larger than 64 MiB"):
        synthesis.read(path)
