"""The names that `import hepprune as hp` offers: all there, and none paid for before it is used."""

import subprocess
import sys

import pytest

import hepprune


@pytest.mark.parametrize("name", hepprune.__all__)
def test_every_name_leads_somewhere(name: str) -> None:
    assert getattr(hepprune, name) is getattr(hepprune, name)


def test_the_lists_of_names_agree() -> None:
    assert {*hepprune._ROOMS, *hepprune._HOMES, "__version__"} == {*hepprune.__all__}


def test_a_name_that_there_is_none_of_is_said() -> None:
    with pytest.raises(AttributeError, match="module 'hepprune' has no attribute 'shrnk'"):
        _ = hepprune.shrnk


@pytest.mark.parametrize(
    "name", ["search.greedy", "pruning.masks", "firmware.rtl", "firmware.hls", "data.scaling", "synthesis.reports"]
)
def test_what_a_room_holds_is_there_without_another_import(name: str) -> None:
    code = f"import hepprune as hp; print(hp.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"hepprune.{name}"


def test_importing_brings_nothing_heavy() -> None:
    code = "import sys, hepprune; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "tensorflow", "hls4ml", "da4ml", "matplotlib", "pydantic"} & set(
        names_in(done.stdout)
    )


def names_in(text: str) -> list[str]:
    return [part.strip(" '[]\n") for part in text.split(",")]
