"""The names that `import hepprune as hp` offers: all there, and none paid for before it is used."""

import dataclasses
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

import hepprune
from hepprune.fixed import FixedPoint

POSITIONAL = {FixedPoint}  # in the order of ap_fixed<width, integer, rounding, overflow>


@pytest.mark.parametrize("name", hepprune.__all__)
def test_every_name_leads_somewhere(name: str) -> None:
    assert getattr(hepprune, name) is getattr(hepprune, name)


def test_the_lists_of_names_agree() -> None:
    assert {*hepprune._ROOMS, *hepprune._HOMES, "__version__"} == {*hepprune.__all__}


def test_a_name_that_there_is_none_of_is_said() -> None:
    with pytest.raises(AttributeError, match="module 'hepprune' has no attribute 'shrnk'"):
        _ = hepprune.shrnk


@pytest.mark.slow
def test_what_a_room_holds_is_there_without_another_import() -> None:
    """Each in a process of its own, which has torch before it parts from the one that brought it."""
    names = ["search.greedy", "pruning.masks", "firmware.rtl", "firmware.hls", "data.scaling", "synthesis.reports"]
    code = f"""
import os, torch
from operator import attrgetter
for name in {names}:
    if not (child := os.fork()):
        import hepprune
        print(attrgetter(name)(hepprune).__name__, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"hepprune.{name}" for name in names], done.stderr


def test_importing_brings_nothing_heavy() -> None:
    code = "import sys, hepprune; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "tensorflow", "hls4ml", "da4ml", "matplotlib", "pydantic"} & set(
        names_in(done.stdout)
    )


def names_in(text: str) -> list[str]:
    return [part.strip(" '[]\n") for part in text.split(",")]


def dataclasses_of_the_package() -> Iterator[type]:
    for info in pkgutil.walk_packages(hepprune.__path__, "hepprune."):
        if not info.name.endswith("__main__"):
            module = importlib.import_module(info.name)
            yield from (
                value
                for value in vars(module).values()
                if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == info.name
            )


def test_dataclasses_of_more_than_four_fields_are_keyword_only() -> None:
    found = set(dataclasses_of_the_package())
    assert len(found) > 200
    assert found >= POSITIONAL
    positional = {
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in found - POSITIONAL
        if len(dataclasses.fields(kind)) > 4 and not all(each.kw_only for each in dataclasses.fields(kind) if each.init)
    }
    assert not positional
