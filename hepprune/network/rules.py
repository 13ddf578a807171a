"""Rules: one question about layers, and for each kind of layer the function that answers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hepprune.errors import NetworkError, refused
from hepprune.network.layers.base import Layer

R = TypeVar("R", bound=Callable[..., Any])


@dataclass(frozen=True)
class Rules(Generic[R]):
    """The functions that answer a question, by the kind of layer or the nearest kind that it derives from.

    A layer that none answers for is refused by name, with what it `lacks` and what helps: `fixes` for its kind, or the
    general `fix`.
    """

    lacks: str
    fix: str
    fixes: Mapping[type[Layer], str] = field(default_factory=dict)
    table: dict[type[Layer], R] = field(default_factory=dict)

    def of(self, *kinds: type[Layer]) -> Callable[[R], R]:
        """Register the function that answers for these kinds of layers."""

        def register(function: R) -> R:
            self.table.update(dict.fromkeys(kinds, function))
            return function

        return register

    def __contains__(self, layer: Layer) -> bool:
        """Return whether a layer is answered for."""
        return any(kind in self.table for kind in type(layer).__mro__)

    def find(self, layer: Layer) -> R:
        """Return the function that answers for a layer.

        Raises:
            NetworkError: there is none.
        """
        for kind in type(layer).__mro__:
            if kind in self.table:
                return self.table[kind]
        raise self.refusal(layer)

    def refusal(self, layer: Layer) -> NetworkError:
        """Return the error that a layer is not answered for, with what helps."""
        fix = next((self.fixes[kind] for kind in type(layer).__mro__ if kind in self.fixes), self.fix)
        return refused(layer.name, f"({type(layer).__name__}) {self.lacks}; {fix}")
