"""The fitted constants of the cost models, with their sources and errors, read once from `constants.json`.

`benchmarks/fit_cost_model.py` writes that file from the public tables and reports.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from hepprune.hardware.cost.features import Terms

UNMEASURED = 0.5  # relative error of a term that no report has shown


@dataclass(frozen=True)
class Constants:
    """Factors by group and term, relative errors by group and cell, and where they come from."""

    factors: dict[str, dict[str, float]]
    errors: dict[str, float]
    sources: dict[str, str]

    def price(self, group: str, terms: Terms) -> float:
        """Return the sum of the amounts, each times its factor."""
        factors = self.factors[group]
        return sum(factors[name] * amount for name, amount in terms.items() if amount)

    def error(self, group: str) -> float:
        """Return the relative uncertainty (one standard deviation) of what a group predicts."""
        return self.errors.get(group, UNMEASURED)


@cache
def shipped() -> Constants:
    """Return the constants that come with the package."""
    text = resources.files(__package__).joinpath("constants.json").read_text(encoding="utf-8")
    return Constants(**json.loads(text))
