"""Features brought to order one with stored constants, by division or by a shift that costs no logic."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepprune.data.jets import IS_FILLED, Jets
from hepprune.errors import DataError, check_known

# Below this share of its mean a spread is rounding, and the feature a constant.
_CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Scaler:
    """x -> (x - offset) / scale, feature by feature; offset and scale are float64 (n_features,) and read-only.

    It takes float32, computes in float64 and rounds once, to the nearest float32, ties to even.
    """

    feature_names: tuple[str, ...]
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("offset", "scale"):
            array = np.array(getattr(self, name), np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
            if array.shape != (len(self.feature_names),) or not np.isfinite(array).all():
                raise DataError(f"the {name} of a scaler is one number for each of {len(self.feature_names)} features")
        if (self.scale <= 0).any():
            raise DataError(f"the scale of feature '{self.feature_names[int(self.scale.argmin())]}' is not positive")

    def apply(self, jets: Jets) -> Jets:
        """Return the jets with scaled features; padded constituents stay 0.

        Raises:
            DataError: the jets have other features, or the same in another order, or a value is not finite.
        """
        if jets.feature_names != self.feature_names:
            raise DataError(
                f"the scaler was made for the features {', '.join(self.feature_names)}, "
                f"the jets have {', '.join(jets.feature_names)}"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by name
            x = ((jets.x - self.offset) / self.scale).astype(np.float32)
        x[~_filled(jets)] = 0
        bad = ~np.isfinite(x)
        if bad.any():
            jet, *_, feature = np.argwhere(bad)[0]
            raise DataError(f"feature '{self.feature_names[feature]}' of jet {jet} is not finite when scaled")
        return replace(jets, x=x)


def fit(jets: Jets, *, power_of_two: bool = False) -> Scaler:
    """Return the scaler that gives these jets mean 0 and spread 1.

    With `power_of_two` the scale is the nearest 2**k and the offset a multiple of it, so that hardware scales by a
    subtraction and a shift; mean and spread are then 0 and 1 only within a factor. Constant features are shifted and
    not scaled, padded constituents that `isfilled` tells of do not count, and flags, of 0 and 1, stay as they are.
    """
    filled = jets.x[_filled(jets)].astype(np.float64)
    offset, scale = filled.mean(axis=0), filled.std(axis=0)
    scale[scale <= _CONSTANT * np.abs(offset)] = 1
    if power_of_two:
        scale = np.exp2(np.rint(np.log2(scale)))
        offset = np.rint(offset / scale) * scale
    flag = ((filled == 0) | (filled == 1)).all(axis=0)
    offset[flag], scale[flag] = 0, 1
    return Scaler(jets.feature_names, offset, scale)


def unscaled(jets: Jets) -> Scaler:
    """Return the scaler that leaves features as they are."""
    n_features = len(jets.feature_names)
    return Scaler(jets.feature_names, np.zeros(n_features), np.ones(n_features))


# What a recipe can ask for.
SCALERS: dict[str, Callable[[Jets], Scaler]] = {
    "standard": fit,
    "power_of_two": partial(fit, power_of_two=True),
    "none": unscaled,
}


def load(path: Path, *, input_name: str | None = None) -> Scaler:
    """Return the scaler in a scaler.json: that of its only input, or of the one named.

    Raises:
        DataError: it is missing or damaged, has several inputs and none was named, or not the one named.
    """
    from hepprune.fixed import interface

    inputs = {port.name: port for port in interface.read(path).inputs}
    if input_name is None and len(inputs) > 1:
        raise DataError(f"'{path}' has the inputs {', '.join(inputs)}; name one of them")
    name = next(iter(inputs)) if input_name is None else input_name
    check_known("input", name, inputs, DataError)
    rows = inputs[name].features
    return Scaler(tuple(row.name for row in rows), *np.array([(row.offset, row.scale) for row in rows]).T)


def _filled(jets: Jets) -> NDArray[np.bool_]:
    if IS_FILLED in jets.feature_names:
        return np.asarray(jets.x[..., jets.feature_names.index(IS_FILLED)] != 0)
    return np.ones(jets.x.shape[:-1], np.bool_)
