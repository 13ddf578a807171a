"""Awkward arrays: the package, imported when something of it is first used, for most commands read no jets."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Return what the package has by that name."""
    return getattr(import_module("awkward"), name)
