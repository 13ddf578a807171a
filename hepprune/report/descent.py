"""A table of budgets: the networks that one training kept on its way down, what each costs and what it is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hepprune.metrics import scores
from hepprune.metrics.scores import Stated
from hepprune.report.plots import curves
from hepprune.report.plots.curves import Line
from hepprune.report.summary import Comparison, Tagger

FILE = "front.json"
_SHOWN = 2  # metrics in the table; front.json has all


@dataclass(frozen=True, kw_only=True)
class FrontRow:
    """A network of a front: what it was allowed, itself on test jets, its scores on validation jets, its file.

    `against_budget` is its difference, on test jets, to the front's network at the recipe's budget, the largest within
    it; where none is, to the smallest.
    """

    lut_allowed: float
    tagger: Tagger
    validation: dict[str, Stated]
    against_budget: Comparison
    against_baseline: Comparison
    network: str


@dataclass(frozen=True, kw_only=True)
class Front:
    """What a front found: the baseline, the networks that no other beats, the most costly first, and its files."""

    recipe: str
    target: str
    seed: int
    budget: dict[str, float]
    baseline: Tagger
    rows: tuple[FrontRow, ...]
    seconds: dict[str, float]
    versions: dict[str, str]
    files: dict[str, str]

    @property
    def at_budget(self) -> FrontRow | None:
        """The network at the recipe's budget, the largest within it; None where no network is."""
        return next((row for row in self.rows if row.tagger.lut <= self.budget["lut"]), None)


def is_alone(build: Path) -> bool:
    """Return whether a build folder holds a front, and no run that went to its end."""
    return (build / FILE).is_file() and not (build / "summary.json").is_file()


def render(front: Front) -> RenderableType:
    """Return the table of budgets, and what half and a quarter of the budget's LUT cost, a sentence each."""
    names = list(front.baseline.scores)[:_SHOWN]
    table = Table(title=Text(f"{front.recipe} on {front.target}: one training, many budgets"), title_justify="left")
    against = "against the budget's" if front.at_budget else "against the smallest"
    for head in ("LUT", "of budget", "levels", "estimated [ns]", *map(scores.label, names), against):
        table.add_column(head, justify="right")
    table.add_row(*_cells(front.baseline, front.budget, names), "", end_section=True)
    for row in front.rows:
        name, gap = next(iter(row.against_budget.scores.items()))
        gained = "" if not gap.error and not gap.value else scores.change(name, gap)
        table.add_row(*_cells(row.tagger, front.budget, names), gained)
    return Group(table, *(Text(line) for line in sentences(front)))


def _cells(tagger: Tagger, budget: Mapping[str, float], names: list[str]) -> list[str]:
    values = [f"{tagger.scores[name]:{scores.form(name)}}" for name in names]
    share = f"{tagger.lut / budget['lut']:.2f}" if budget.get("lut") else ""
    nanoseconds = tagger.estimate.latency_ns or 0.0
    return [f"{tagger.lut:,.0f}", share, f"{tagger.solved_depth or 0:.0f}", f"{nanoseconds:.0f}", *values]


def sentences(front: Front) -> list[str]:
    """Return what half and a quarter of the budget's LUT cost against the network at the budget, if one takes no more.

    That the network at the budget takes no more itself is not a cost, and is not said; that there is none is.
    """
    reference, found = front.at_budget, []
    if reference is None:
        least = front.rows[-1].tagger.lut
        return [f"no network is within the budget of {front.budget['lut']:,.0f} LUT: the smallest takes {least:,.0f}"]
    for name, share in (("half", 0.5), ("a quarter of", 0.25)):
        smaller = [row for row in front.rows if row.tagger.lut <= share * front.budget["lut"]]
        if smaller and smaller[0] is not reference:
            gap = next(iter(smaller[0].against_budget.scores.items()))
            found.append(f"{name} the budget's LUT: {scores.change(*gap)} ({smaller[0].tagger.lut:,.0f} LUT)")
    return found


def draw(front: Front, path: Path) -> list[Path]:
    """Draw the primary metric against the LUT, and return the files (png and pdf)."""
    metric = next(iter(front.baseline.scores))
    luts, values = zip(*((row.tagger.lut, row.tagger.scores[metric]) for row in front.rows), strict=True)
    line = Line("kept on the way", luts, values)
    level = f"baseline, {front.baseline.lut:,.0f} LUT", front.baseline.scores[metric]
    x_label, y_label = "LUT (solved adder graph)", f"test {scores.label(metric)}"
    return curves.draw([line], path, x_label=x_label, y_label=y_label, level=level, log_x=True)
