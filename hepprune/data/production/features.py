"""The 16 high-level features of the LHC jet samples, from the groomed and ungroomed constituents of one jet."""

import numpy as np
from numpy.typing import NDArray

FEATURES = (
    *("j_zlogz", "j_c1_b0_mmdt", "j_c1_b1_mmdt", "j_c1_b2_mmdt", "j_c2_b1_mmdt", "j_c2_b2_mmdt"),
    *("j_d2_b1_mmdt", "j_d2_b2_mmdt", "j_d2_a1_b1_mmdt", "j_d2_a1_b2_mmdt", "j_m2_b1_mmdt", "j_m2_b2_mmdt"),
    *("j_n2_b1_mmdt", "j_n2_b2_mmdt", "j_mass_mmdt", "j_multiplicity"),
)

Floats = NDArray[np.float64]


def jet_features(constituents: Floats, groomed: Floats) -> Floats:
    """Return the features of one jet, in the order of `FEATURES`.

    Both inputs are (n, 4) momenta px, py, pz, E in GeV: all constituents of the jet, and those that grooming left.
    zlogz and the multiplicity are those of the whole jet, everything else of the groomed one.
    A ratio whose denominator vanishes (one particle left) is 0.

    Larkoski, Salam and Thaler, arXiv:1305.0007 (C); Larkoski, Moult and Neill, arXiv:1409.6298 (D);
    Moult, Necib and Thaler, arXiv:1609.07483 (M, N).
    """
    e = correlators(groomed)
    fractions = _fractions(constituents)
    values = [
        float(np.sum(fractions * np.log(fractions))),
        e["e2_b0"],
        e["e2_b1"],
        e["e2_b2"],
        _ratio(e["e3_b1"], e["e2_b1"], power=2),
        _ratio(e["e3_b2"], e["e2_b2"], power=2),
        _ratio(e["e3_b1"], e["e2_b1"], power=3),
        _ratio(e["e3_b2"], e["e2_b2"], power=3),
        _ratio(e["e3_b1"], e["e2_b1"], power=3),
        _ratio(e["e3_b1"], e["e2_b2"], power=1.5),
        _ratio(e["1e3_b1"], e["e2_b1"], power=1),
        _ratio(e["1e3_b2"], e["e2_b2"], power=1),
        _ratio(e["2e3_b1"], e["e2_b1"], power=2),
        _ratio(e["2e3_b2"], e["e2_b2"], power=2),
        mass(groomed.sum(axis=0)),
        float(len(constituents)),
    ]
    return np.array(values)


def correlators(momenta: Floats) -> dict[str, float]:
    """Return the energy correlators e2, e3 and the generalised 1e3, 2e3 of (n, 4) momenta.

    Keys are `e2_b0`, `e2_b1`, ..., `2e3_b2`; `b` is the power of the angle, `v` in `ve3` the number of smallest
    angles that enter. Fractions are of pT, angles are distances in rapidity and azimuth.
    """
    y, phi = rapidity(momenta), azimuth(momenta)
    z, angle = _fractions(momenta), np.hypot(y[:, None] - y, wrapped(phi[:, None] - phi))
    sums = {"e2_b0": 0.5 * float(1 - np.sum(z * z))}
    for beta in (1, 2):
        powers = angle**beta
        weighted = z[:, None] * powers
        sums[f"e2_b{beta}"] = 0.5 * float(z @ powers @ z)
        sums[f"e3_b{beta}"] = float(np.sum((weighted @ weighted) * weighted.T)) / 6
    return sums | _smallest_angles(z, angle)


def _smallest_angles(z: Floats, angle: Floats) -> dict[str, float]:
    # One particle at a time against all pairs before it: blocks of n x n stay in the cache, triples do not.
    sums = dict.fromkeys(("1e3_b1", "1e3_b2", "2e3_b1", "2e3_b2"), 0.0)
    for k in range(2, len(z)):
        weights, pairs, a, b = z[:k], angle[:k, :k], angle[:k, k, None], angle[k, :k]
        low, high = np.minimum(a, b), np.maximum(a, b)
        smallest = np.minimum(low, pairs)
        two_smallest = smallest * np.maximum(low, np.minimum(high, pairs))
        half = 0.5 * z[k]
        for name, product in (("1e3", smallest), ("2e3", two_smallest)):
            sums[f"{name}_b1"] += float(half * (weights @ product @ weights))
            sums[f"{name}_b2"] += float(half * (weights @ np.square(product) @ weights))
    return sums


def mass(momentum: Floats) -> float:
    """Return the invariant mass of one momentum px, py, pz, E, in its unit; rounding below zero gives 0."""
    px, py, pz, energy = momentum
    return float(np.sqrt(max(energy**2 - px**2 - py**2 - pz**2, 0.0)))


def pt(momenta: Floats) -> Floats:
    """Return the transverse momenta of (..., 4) momenta."""
    return np.hypot(momenta[..., 0], momenta[..., 1])


def rapidity(momenta: Floats) -> Floats:
    """Return the rapidities of (..., 4) momenta."""
    return np.arctanh(momenta[..., 2] / momenta[..., 3])


def azimuth(momenta: Floats) -> Floats:
    """Return the azimuths of (..., 4) momenta, in [-pi, pi]."""
    return np.arctan2(momenta[..., 1], momenta[..., 0])


def wrapped(angle: Floats) -> Floats:
    """Return differences of azimuth brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _fractions(momenta: Floats) -> Floats:
    transverse = pt(momenta)
    return np.asarray(transverse / transverse.sum())


def _ratio(numerator: float, denominator: float, *, power: float) -> float:
    return numerator / denominator**power if denominator > 0 else 0.0
