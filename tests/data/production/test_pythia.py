"""Jets from real collisions: inside their cuts, rightly groomed, and the same for the same seed."""

from functools import cache

import numpy as np
import pytest

from hepprune.data.production import features, pythia


@cache
def jets(name: str, n_jets: int = 6) -> pythia.JetColumns:
    return pythia.make_jets(name, n_jets=n_jets, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("name", pythia.CLASSES)
def test_jets_lie_inside_the_cuts_and_their_leading_constituents_within_the_radius(name: str) -> None:
    sample = jets(name)
    assert all(len(sample[column]) == 6 for column in ("pt", "eta", "phi", "mass", "event", *features.FEATURES))
    assert ((sample["pt"] >= pythia.PT_MIN_GEV) & (sample["pt"] < pythia.PT_MAX_GEV)).all()
    assert (sample["j_mass_mmdt"] <= sample["mass"]).all()
    counts = sample["n_constituents"]
    assert (counts == np.minimum(sample["j_multiplicity"], pythia.N_CONSTITUENTS)).all()
    assert len(sample["constituent_pt"]) == counts.sum()
    hard = sample["constituent_pt"] > 0.01 * pythia.PT_MIN_GEV
    assert (np.hypot(sample["constituent_deta"], sample["constituent_dphi"])[hard] < 1.2 * pythia.RADIUS).all()
    for pt, total in zip(np.split(sample["constituent_pt"], np.cumsum(counts)[:-1]), sample["pt"], strict=True):
        assert (np.diff(pt) <= 0).all()
        assert 0.5 * total < pt.sum() < 1.2 * total


@pytest.mark.slow
def test_charges_agree_with_the_kinds_of_particles() -> None:
    sample = jets("t")
    kinds = np.array(pythia.PDG_CLASSES)[sample["constituent_pdg"]]
    charged = np.isin(kinds, ["charged hadron", "electron", "muon"])
    assert (np.abs(sample["constituent_charge"]) == charged).all()
    assert {"charged hadron", "neutral hadron", "photon"} <= set(kinds)


@pytest.mark.slow
def test_fewer_jets_are_the_first_of_more() -> None:
    few, many = jets("Z", 3), jets("Z")
    for column in ("event", "pt", *features.FEATURES):
        assert (few[column] == many[column][:3]).all()


@pytest.mark.slow
def test_another_seed_gives_other_jets() -> None:
    assert not np.isin(pythia.make_jets("Z", n_jets=3, seed=8)["pt"], jets("Z")["pt"]).any()


def _mass_drop(momenta: features.Floats) -> features.Floats:
    """Decluster Cambridge/Aachen by hand: merge the nearest pair until one is left, then drop soft branches."""
    nodes = [(p, None) for p in momenta]
    while len(nodes) > 1:
        total = np.array([p for p, _ in nodes])
        y, phi = features.rapidity(total), features.azimuth(total)
        distance = np.hypot(y[:, None] - y, features.wrapped(phi[:, None] - phi)) + np.diag(np.full(len(nodes), np.inf))
        i, j = sorted(divmod(int(distance.argmin()), len(nodes)))
        pair = (nodes[i], nodes[j])
        nodes = [node for index, node in enumerate(nodes) if index not in {i, j}]
        nodes.append((pair[0][0] + pair[1][0], pair))
    node = nodes[0]
    while node[1] is not None:
        hard, soft = sorted(node[1], key=lambda branch: -features.pt(branch[0]))
        if features.pt(soft[0]) >= pythia.MMDT_Z_CUT * (features.pt(hard[0]) + features.pt(soft[0])):
            break
        node = hard
    return node[0]


def test_grooming_equals_declustering_by_hand() -> None:
    rng = np.random.default_rng(3)
    samples = []
    for n in (1, 2, 5, 20, 40):
        pt, eta, phi = rng.pareto(1.5, n) + 0.5, rng.normal(0, 0.3, n), rng.normal(3, 0.3, n)
        p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)
        samples.append(np.column_stack([p, np.sqrt((p**2).sum(axis=1) + 0.02)]))
    groomed = pythia.groom(samples)
    assert any(len(after) < len(before) for before, after in zip(samples, groomed, strict=True))
    for before, after in zip(samples, groomed, strict=True):
        assert after.sum(axis=0) == pytest.approx(_mass_drop(before), rel=1e-9)


def test_grooming_no_jets_gives_none() -> None:
    assert pythia.groom([]) == []


def test_pdg_classes_name_photons_and_leptons_before_hadrons() -> None:
    ids, charged = np.array([22, 11, 13, 211, 2112], np.int32), np.array([False, True, True, True, False])
    kinds = [pythia.PDG_CLASSES[kind] for kind in pythia._pdg_classes(ids, charged=charged)]
    assert kinds == ["photon", "electron", "muon", "charged hadron", "neutral hadron"]
