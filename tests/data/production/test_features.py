"""The features against FastJet's own energy correlators, a brute-force sum, and the symmetries they must have."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data.production import features
from hepprune.data.production.features import FEATURES, correlators, jet_features


def jet(n: int, *, seed: int) -> features.Floats:
    """Return n light particles of a few GeV within about 0.3 of an axis of 100 GeV, in general position."""
    rng = np.random.default_rng(seed)
    pt = rng.exponential(5.0, n) + 0.2
    eta, phi = rng.normal(0.7, 0.15, n), rng.normal(3.1, 0.15, n)  # across the seam of the azimuth
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)
    return np.column_stack([p, np.sqrt((p**2).sum(axis=1) + 0.14**2)])


def contrib(momenta: features.Floats, name: str, *, beta: float, alpha: float = 0) -> float:
    import awkward as ak
    import fastjet

    columns = dict(zip(("px", "py", "pz", "E"), momenta.T, strict=True))
    event = ak.zip(columns, with_name="Momentum4D")[np.newaxis]
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    clusters = fastjet.ClusterSequence(event, definition)
    value = clusters.exclusive_jets_energy_correlator(njets=1, beta=beta, alpha=alpha, npoint=2, func=name)
    return float(np.ravel(ak.to_numpy(value))[0])


ORACLE = {
    "j_c1_b0_mmdt": {"name": "c1", "beta": 0},
    "j_c1_b1_mmdt": {"name": "c1", "beta": 1},
    "j_c1_b2_mmdt": {"name": "c1", "beta": 2},
    "j_c2_b1_mmdt": {"name": "c2", "beta": 1},
    "j_c2_b2_mmdt": {"name": "c2", "beta": 2},
    "j_d2_b1_mmdt": {"name": "d2", "beta": 1},
    "j_d2_b2_mmdt": {"name": "d2", "beta": 2},
    "j_d2_a1_b1_mmdt": {"name": "generalizedd2", "alpha": 1, "beta": 1},
    "j_d2_a1_b2_mmdt": {"name": "generalizedd2", "alpha": 1, "beta": 2},
    "j_m2_b1_mmdt": {"name": "m2", "beta": 1},
    "j_m2_b2_mmdt": {"name": "m2", "beta": 2},
    "j_n2_b1_mmdt": {"name": "n2", "beta": 1},
    "j_n2_b2_mmdt": {"name": "n2", "beta": 2},
}


@pytest.mark.parametrize("feature", ORACLE)
@pytest.mark.parametrize("n", [3, 4, 25])
def test_features_equal_those_of_fastjet_contrib(feature: str, n: int) -> None:
    momenta = jet(n, seed=n)
    ours = jet_features(momenta, momenta)[FEATURES.index(feature)]
    arguments: dict[str, Any] = ORACLE[feature]
    assert ours == pytest.approx(contrib(momenta, **arguments), rel=1e-9)


@given(n=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_correlators_equal_the_sum_over_all_triples(n: int, seed: int) -> None:
    momenta = jet(n, seed=seed)
    pt, phi = np.hypot(momenta[:, 0], momenta[:, 1]), np.arctan2(momenta[:, 1], momenta[:, 0])
    y = 0.5 * np.log((momenta[:, 3] + momenta[:, 2]) / (momenta[:, 3] - momenta[:, 2]))
    z = pt / pt.sum()

    def angle(i: int, j: int) -> float:
        distance = abs(phi[i] - phi[j])
        return float(np.hypot(y[i] - y[j], min(distance, 2 * np.pi - distance)))

    expected = dict.fromkeys(correlators(momenta), 0.0)
    for i, j in combinations(range(n), 2):
        for beta in (0, 1, 2):
            expected[f"e2_b{beta}"] += z[i] * z[j] * angle(i, j) ** beta
    for i, j, k in combinations(range(n), 3):
        angles = sorted([angle(i, j), angle(i, k), angle(j, k)])
        for beta in (1, 2):
            for name, product in (("1e3", angles[0]), ("2e3", angles[0] * angles[1]), ("e3", np.prod(angles))):
                expected[f"{name}_b{beta}"] += z[i] * z[j] * z[k] * product**beta
    assert correlators(momenta) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@given(seed=st.integers(0, 2**32), turn=st.floats(-3, 3), boost=st.floats(-2, 2), factor=st.floats(0.1, 10))
def test_features_do_not_change_under_rotation_boost_and_scale(
    seed: int, turn: float, boost: float, factor: float
) -> None:
    momenta = jet(12, seed=seed)
    px, py, pz, energy = momenta.T
    moved = factor * np.column_stack(
        [
            px * np.cos(turn) - py * np.sin(turn),
            px * np.sin(turn) + py * np.cos(turn),
            pz * np.cosh(boost) + energy * np.sinh(boost),
            energy * np.cosh(boost) + pz * np.sinh(boost),
        ]
    )
    expected = jet_features(momenta, momenta)
    expected[FEATURES.index("j_mass_mmdt")] *= factor
    assert jet_features(moved, moved) == pytest.approx(expected, rel=1e-6)


def test_zlogz_and_multiplicity_are_those_of_the_whole_jet_and_the_rest_of_the_groomed_one() -> None:
    whole, groomed = jet(20, seed=1), jet(20, seed=1)[:7]
    mixed, inner, outer = jet_features(whole, groomed), jet_features(groomed, groomed), jet_features(whole, whole)
    for index, name in enumerate(FEATURES):
        assert mixed[index] == (outer if name in {"j_zlogz", "j_multiplicity"} else inner)[index]


@pytest.mark.parametrize("n", [1, 2])
def test_ratios_of_vanishing_correlators_are_zero(n: int) -> None:
    momenta = jet(n, seed=5)
    values = dict(zip(FEATURES, jet_features(momenta, momenta), strict=True))
    assert np.isfinite(list(values.values())).all()
    assert values["j_d2_b1_mmdt"] == values["j_n2_b2_mmdt"] == 0
    assert values["j_multiplicity"] == n


def test_two_equal_particles_have_known_features() -> None:
    # Back to back in nothing but azimuth: z = 1/2 each, an angle of 0.4, a mass of 2 pT sin(0.2).
    momenta = np.array([[10.0, 0, 0, 10], [10 * np.cos(0.4), 10 * np.sin(0.4), 0, 10]])
    values = dict(zip(FEATURES, jet_features(momenta, momenta), strict=True))
    assert values["j_zlogz"] == pytest.approx(-np.log(2))
    assert values["j_c1_b0_mmdt"] == pytest.approx(0.25)
    assert values["j_c1_b2_mmdt"] == pytest.approx(0.25 * 0.16)
    assert values["j_mass_mmdt"] == pytest.approx(20 * np.sin(0.2))
