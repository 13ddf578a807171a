"""Signed digits of weights and fraction bits of values compete: what the loss needs most per LUT stays.

A digit is worth the squared residual that it removes times the Fisher information of its weight, as in `allocation`,
and costs the bits of the value that it reads. A fraction bit is worth the rounding noise that it removes times the
Fisher information of its value, and costs one LUT in every digit that reads it. Each cost depends on the other choice,
so the two are made in turns, under one price of the loss per LUT that is raised until the network fits.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hepprune import training
from hepprune.fixed.quantisers import FixedPoints
from hepprune.hardware.resources import Budget, Estimate
from hepprune.network import Dense, Layer, Network
from hepprune.pruning.statistics import values
from hepprune.pruning.statistics.values import Worths
from hepprune.search.allocation import bits, goals, leaving_one, saved, within
from hepprune.search.moves import missed
from hepprune.search.moves.neurons import NOISE
from hepprune.search.stages import Price
from hepprune.task.sample import Sample

_EXTRA_BITS = 1.0  # of an addition beyond those of what its digit reads
_OWN_BITS = 0.5  # LUT that a bit of a ReLU costs where nothing reads it
_TURNS, _HALVINGS = 3, 13
_PRICES = (-36.0, 8.0)  # of the loss in nats per LUT, powers of two
_RAISED = 2.0**-5  # by so many powers of two
_COARSEST = -1  # place, of a value and of a bias
_FROM, _UNTIL = 0.05, 0.65  # the parts of a training between which digits and bits are chosen
_CHOICES = 48  # at most, in a training: in between the network trains with what was chosen last
_NEWEST = 0.3  # the share of the newest measurement in the running mean of what everything is worth
_JETS = 4096  # that everything is measured on before each epoch


@torch.no_grad()
def settle(
    network: Network, worths: Worths, price: Price, *, finest: Mapping[str, int], fits: Callable[[Estimate], bool]
) -> None:
    """Limit digits of weights and places of values and biases, in place, so that the most valuable ones stay that fit.

    Weights that had been cut and bits that had been taken compete again. `finest` has the last place that values of a
    layer, and biases, may have, by its name. Each kernel is left one digit, whether it fits or not.
    """
    contest = _Contest(network, worths, finest)
    low, high = _PRICES
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        contest.choose(2.0**middle)
        low, high = (low, middle) if fits(price(network)) else (middle, high)
    contest.choose(2.0**high)
    while high < _PRICES[1] and not fits(price(network)):  # turns begin with what was chosen before, and end elsewhere
        high += _RAISED
        contest.choose(2.0**high)


@dataclass(frozen=True)
class _Contest:
    """The dense layers of a network, and the layers whose values they read, each value with a type of its own."""

    network: Network
    worths: Worths
    finest: Mapping[str, int]

    @cached_property
    def readers(self) -> dict[str, list[Dense]]:
        """The dense layers in the contest that read the values of each layer whose values have types of their own."""
        values = [layer for layer in self.network if isinstance(layer.result, FixedPoints)]
        ours = {dense.name for dense in self.dense}
        return {v.name: [cast("Dense", r) for r in self.network.readers(v) if r.name in ours] for v in values}

    @cached_property
    def given(self) -> dict[str, Tensor]:
        """The digits of constants of the model that read each value of a layer, (n_values,)."""
        found = {name: torch.zeros(self.network.widths[name], dtype=torch.float64) for name in self.readers}
        for dense in (layer for layer in self.network if isinstance(layer, Dense) and layer.fixed):
            found[self.network.source(dense).name] += dense.matrix.digit_counts().sum(dim=0)
        return found

    @cached_property
    def digits(self) -> dict[str, Tensor]:
        """The loss that each digit of each weight saves, by dense layer, (n_digits, n_out, n_in), never rising."""
        found = {}
        for dense in self.dense:
            loss = saved(dense.matrix) * self.worths.weights[dense.name].double() * dense.fixed_types[0].step ** 2 / 2
            found[dense.name] = leaving_one(torch.cummin(loss, dim=0).values)
        return found

    @cached_property
    def dense(self) -> list[Dense]:
        """The dense layers whose digits are chosen."""
        return bits.trained(self.network)

    def choose(self, per_lut: float) -> None:
        """Keep what is worth more than its LUT cost at a price."""
        for _ in range(_TURNS):
            for name, readers in self.readers.items():
                for dense in readers:
                    cost = torch.as_tensor(_types(self.network[name]).width + _EXTRA_BITS)
                    dense.digit_limit.copy_((self.digits[dense.name] >= per_lut * cost).sum(dim=0))
            for name, readers in self.readers.items():
                layer = self.network[name]
                n_digits = sum((dense.digit_limit.double().sum(dim=0) for dense in readers), self.given[name])
                worth = self.worths.values[layer.name].double() / (n_digits + _OWN_BITS)
                kind, fraction = _types(layer), _places(worth / per_lut, self.finest[layer.name]).numpy()
                layer.result = replace(kind, width=np.maximum(kind.integer + fraction.astype(np.int64), 1))
        for dense in self.dense:
            # the biases of a layer have one type
            n_alive = dense.digit_limit.any(dim=1).sum().clamp(min=1)
            worth = self.worths.biases[dense.name].double().sum() / n_alive
            place, biases = int(_places(worth[None] / per_lut, self.finest[dense.name])[0]), dense.fixed_types[1]
            dense.bias_type = replace(biases, width=max(biases.integer + place, 1))


def _places(worth: Tensor, finest: int) -> Tensor:
    """Return the last place f whose bit, 3 / 4 of the noise 4**-f / 3 of one before, is worth its cost."""
    places = torch.floor(torch.log2((NOISE * worth / 8).clamp(min=2.0**-60)) / 2)
    return places.clamp(_COARSEST, finest)


def _types(layer: Layer) -> FixedPoints:
    return cast("FixedPoints", layer.result)


@dataclass(kw_only=True)
class Narrowing:
    """What chooses digits and bits before each epoch of a training, as `training.fit` has it prepared.

    `finest` is what `bits.opened` says of the network in training.
    """

    train: Sample
    price: Price
    budget: Budget
    finest: Mapping[str, int]
    held: bool = False
    _turn: int | None = None
    _start: Mapping[str, float] = field(default_factory=dict)
    _worths: Worths | None = None

    def __call__(self, network: Network, passed: float) -> bool:
        """Choose anew, in place, until no more may be used than the budget; return whether the choice is held.

        Raises:
            BudgetMissedError: even one digit a layer is too much.
        """
        turn = math.floor(_CHOICES * (passed - _FROM) / (_UNTIL - _FROM))
        if self.held or (turn == self._turn and passed < _UNTIL):
            return self.held
        self._turn = turn
        some = self.train.first(_JETS)
        newest = values.worths(*training.placed(network, some))
        self._worths = newest if self._worths is None else self._worths.mixed(newest, _NEWEST)
        if passed >= _FROM:
            self.held = passed >= _UNTIL
            seen = self.train if self.held else some
            bits.calibrate(network, seen, overflow="WRAP")  # as it will be built, and so priced
            self._choose(network, self._worths, passed)
            bits.calibrate(network, seen, spare=0 if self.held else 1)
        return self.held

    def _choose(self, network: Network, worths: Worths, passed: float) -> None:
        self._start = self._start or self.budget.usage(self.price(network))
        limits, usage = goals(self._start, (passed - _FROM) / (_UNTIL - _FROM)), self.budget.usage
        settle(network, worths, self.price, finest=self.finest, fits=lambda figures: within(usage(figures), limits))
        if self.held and not self.budget.met_by(figures := self.price(network)):
            raise missed(self.budget, figures, network)
