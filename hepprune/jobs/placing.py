"""The device that a recipe names, for all that trains or scores what the recipe names."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hepprune import recipe as recipes
from hepprune.training import devices

_RECIPES = {".yaml", ".yml"}
P = ParamSpec("P")
T = TypeVar("T")


def by_recipe(*names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return what makes a function train and score on the device of a recipe that one of these arguments names.

    The first that names a device counts, and none does where the caller asked for one.
    """

    def placed(function: Callable[P, T]) -> Callable[P, T]:
        own = inspect.signature(function)

        @wraps(function)
        def on_device(*args: P.args, **kwargs: P.kwargs) -> T:
            given = own.bind(*args, **kwargs).arguments
            found = (recipes.load(path).device for name in names for path in _recipes(given.get(name)))
            with devices.on(next((device for device in found if device), None), unless_asked=True):
                return function(*args, **kwargs)

        return on_device

    return placed


def _recipes(given: Any) -> Iterator[Path]:
    """Yield the recipes that are there of what may be a path, or several, or something else."""
    several = list(given.values()) if isinstance(given, Mapping) else given
    if isinstance(several, Sequence) and not isinstance(several, str):
        for each in several:
            yield from _recipes(each)
    elif isinstance(given, str | Path) and Path(given).suffix in _RECIPES and Path(given).is_file():
        yield Path(given)
