"""Small random problems for hypothesis, and their optimum by trying every plan."""

import itertools

import numpy as np
from hypothesis import strategies as st

from hepprune.hardware.resources import Budget, Resources
from hepprune.search.plans.choices import Choice, ChoiceTable, Option, PlanProblem
from hepprune.search.plans.knapsack import Knapsack
from hepprune.search.plans.pareto import Picks

NAMES = ("lut", "dsp", "latency_ns")


def option(loss: float, lut: float, dsp: float, ns: float, *, interval: int = 1, error: float = 0.0) -> Option:
    return Option(
        sparsity=0.5,
        loss=loss,
        error=error,
        resources=Resources(lut=lut, dsp=dsp),
        latency_ns=ns,
        interval_cycles=interval,
    )


def table(model: str, rng: np.random.Generator, *, n_layers: int, n_options: int) -> ChoiceTable:
    """Options whose loss falls as what they use rises, roughly, in numbers that tie at times."""
    choices = []
    for layer in range(n_layers):
        size = rng.integers(1, 20, n_options)
        loss = np.round(1 / size + rng.exponential(0.1, n_options), 2)
        dsp, ns = size // 2 + rng.integers(0, 4, n_options), rng.integers(1, 6, n_options)
        options = [option(*map(float, row)) for row in zip(loss, 10 * size, dsp, ns, strict=True)]
        choices.append(Choice(f"layer_{layer}", tuple(options)))
    return ChoiceTable(model=model, choices=tuple(choices), fixed=Resources(lut=3.0, dsp=0.0), fixed_latency_ns=1.0)


@st.composite
def problems(draw: st.DrawFn, *, share: float | None = None) -> PlanProblem:
    """One or two models of one to three layers, with some limits, of any tightness unless a share is given."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_models = draw(st.integers(1, 2))
    tables = [
        table(f"model_{n}", rng, n_layers=draw(st.integers(1, 3)), n_options=draw(st.integers(1, 6)))
        for n in range(n_models)
    ]
    tight = share if share is not None else draw(st.floats(0.05, 1.0))
    whole = PlanProblem.of(tables, Budget(1.0, 1, Resources(lut=1.0, dsp=1.0)))
    knapsack = Knapsack.of(whole)
    most = knapsack.use([int(np.argmin(losses)) for losses in knapsack.losses])
    limits = {
        name: float(np.round(tight * value))
        for name, value in zip(knapsack.names, most, strict=True)
        if draw(st.booleans())
    }
    latency = max((value for name, value in limits.items() if name.startswith("latency")), default=None)
    cells = {name: value for name, value in limits.items() if name in {"lut", "dsp"}}
    return PlanProblem.of(tables, Budget(latency, 1, Resources(**cells)))


def best(knapsack: Knapsack, share: float = 1.0) -> tuple[float, Picks] | None:
    """The least loss within a share of the limits, from every plan there is."""
    plans = itertools.product(*(range(len(losses)) for losses in knapsack.losses))
    fitting = [(knapsack.loss(plan), plan) for plan in plans if knapsack.fits(knapsack.use(plan), share)]
    return min(fitting, default=None)
