"""What sections of a recipe are made of."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import AfterValidator, Field

from hepprune.errors import HeppruneError, check_known

Positive = Annotated[int, Field(ge=1, le=10**9)]  # what is larger is not a count, and may be more than a float holds
Fraction = Annotated[float, Field(gt=0, le=1)]


@contextmanager
def placed(before: str = "") -> Iterator[None]:
    """Turn an error into one that pydantic says the place of."""
    try:
        yield
    except HeppruneError as problem:
        raise ValueError(f"{before}{problem}") from problem


def one_of(kind: str, choices: Collection[str]) -> AfterValidator:
    """Return what refuses all but these names of a kind."""

    def known(name: str) -> str:
        check_known(kind, name, choices, ValueError)
        return name

    return AfterValidator(known)
