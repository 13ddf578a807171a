"""The samples kept in datasets/: balanced, complete, and showing the particles they are made of."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from numpy.typing import NDArray

from hepprune.data import read, split
from hepprune.data.files import root
from hepprune.data.production import features, pythia, trigger

DATASETS = Path(__file__).parents[2] / "datasets"
FEATURES, CONSTITUENTS = DATASETS / "jets_features.root", DATASETS / "jets_constituents.root"
IMAGES = DATASETS / "calo_regions.root"
# From the Review of Particle Physics.
MASS_GEV = {"W": 80.37, "Z": 91.19, "t": 172.6}


@cache
def column(path: Path, name: str) -> NDArray[Any]:
    with uproot.open(f"{path}:Jets") as tree:
        return np.asarray(tree[name].array(library="np"))


def of_class(path: Path, name: str, jet_class: str) -> NDArray[Any]:
    return column(path, name)[column(path, "label") == pythia.CLASSES.index(jet_class)]


def peak(values: NDArray[Any], *, around: float) -> tuple[float, float]:
    """Return the median of the values within 8 GeV of the highest bin, and its statistical error."""
    counts, edges = np.histogram(values, bins=np.arange(around - 20, around + 21, 1.0))
    top = edges[counts.argmax()] + 0.5
    core = values[np.abs(values - top) < 8]
    return float(np.median(core)), float(1.25 * core.std() / np.sqrt(len(core)))


@pytest.mark.parametrize(("jet_class", "tolerance_gev"), [("W", 1.5), ("Z", 1.5), ("t", 4.0)])
def test_groomed_masses_peak_at_the_masses_of_the_particles(jet_class: str, tolerance_gev: float) -> None:
    middle, error = peak(of_class(FEATURES, "j_mass_mmdt", jet_class), around=MASS_GEV[jet_class])
    assert error < 0.2
    assert abs(middle - MASS_GEV[jet_class]) < tolerance_gev


def test_the_peaks_of_w_and_z_are_apart_by_their_mass_difference() -> None:
    w, w_error = peak(of_class(FEATURES, "j_mass_mmdt", "W"), around=MASS_GEV["W"])
    z, z_error = peak(of_class(FEATURES, "j_mass_mmdt", "Z"), around=MASS_GEV["Z"])
    assert z - w > 20 * np.hypot(w_error, z_error)
    assert abs((z - w) - (MASS_GEV["Z"] - MASS_GEV["W"])) < 1


@pytest.mark.parametrize("path", [FEATURES, CONSTITUENTS])
def test_gluon_and_top_jets_hold_more_particles_than_quark_and_boson_jets(path: Path) -> None:
    medians = {name: np.median(of_class(path, "j_multiplicity", name)) for name in pythia.CLASSES}
    assert min(medians["g"], medians["t"]) > 1.4 * max(medians["q"], medians["W"], medians["Z"])


def test_quark_and_gluon_jets_have_no_peak_at_the_boson_masses() -> None:
    for jet_class, share in (("g", 0.1), ("q", 0.1)):
        mass = of_class(FEATURES, "j_mass_mmdt", jet_class)
        assert ((mass > 75) & (mass < 97)).mean() < share
    assert ((of_class(FEATURES, "j_mass_mmdt", "W") > 70) & (of_class(FEATURES, "j_mass_mmdt", "W") < 90)).mean() > 0.5


def test_three_prongs_of_tops_and_two_of_bosons_show_in_n2() -> None:
    n2 = {name: np.median(of_class(FEATURES, "j_n2_b1_mmdt", name)) for name in pythia.CLASSES}
    assert max(n2["W"], n2["Z"]) < min(n2["g"], n2["q"], n2["t"])


@pytest.mark.parametrize(("path", "n_jets", "seed"), [(FEATURES, 100_000, 1), (CONSTITUENTS, 10_000, 2)])
def test_samples_are_small_balanced_and_say_how_they_were_made(path: Path, n_jets: int, seed: int) -> None:
    assert path.stat().st_size < 8e6
    assert np.bincount(column(path, "label")).tolist() == [n_jets // 5] * 5
    assert np.bincount(column(path, "label")[: n_jets // 10], minlength=5).min() > 0.15 * n_jets / 10
    known = root.metadata(path)
    assert (known["n_jets"], known["seed"], tuple(known["classes"])) == (n_jets, seed, pythia.CLASSES)
    assert known["jet"]["pt_gev"] == [pythia.PT_MIN_GEV, pythia.PT_MAX_GEV]
    assert column(path, "pt").min() >= pythia.PT_MIN_GEV
    assert column(path, "pt").max() <= pythia.PT_MAX_GEV
    for name in ("pt", "eta", "phi", "mass", *features.FEATURES):
        assert np.isfinite(column(path, name)).all()


def test_the_pt_of_a_jet_does_not_tell_its_class() -> None:
    medians = [np.median(of_class(FEATURES, "pt", name)) for name in pythia.CLASSES]
    assert max(medians) - min(medians) < 0.03 * min(medians)


def test_both_samples_show_the_same_physics() -> None:
    for name in pythia.CLASSES:
        for feature in ("j_mass_mmdt", "j_multiplicity", "j_zlogz"):
            large, small = of_class(FEATURES, feature, name), of_class(CONSTITUENTS, feature, name)
            error = np.hypot(large.std() / np.sqrt(len(large)), small.std() / np.sqrt(len(small)))
            assert abs(large.mean() - small.mean()) < 5 * error


def test_at_most_two_jets_come_from_one_event_and_none_is_split_from_the_other() -> None:
    jets = read(f"{FEATURES}:Jets", features=["j_mass_mmdt"], classes=pythia.CLASSES)
    assert np.unique(jets.event, return_counts=True)[1].max() == 2
    train, test = split(jets, (0.75, 0.25), seed=1)
    assert not np.isin(train.event, test.event).any()


def test_constituents_add_up_to_nearly_all_of_the_jet() -> None:
    names = ["constituent_pt", "constituent_deta", "constituent_dphi", "constituent_pdg", "constituent_charge"]
    jets = read(f"{CONSTITUENTS}:Jets", features=names, classes=pythia.CLASSES, n_constituents=pythia.N_CONSTITUENTS)
    pt, deta, dphi, kind, charge, filled = np.moveaxis(jets.x.astype(float), -1, 0)
    assert (np.diff(pt, axis=1) <= 0).all()
    assert ((pt > 0) == (filled == 1)).all()
    assert ((kind > 0) == (filled == 1)).all()
    assert set(np.unique(charge)) == {-1, 0, 1}
    share = pt.sum(axis=1) / column(CONSTITUENTS, "pt")
    assert 0.85 < np.median(share) < 1.01
    for offset in (deta, dphi):
        assert abs(np.average(offset, weights=pt)) < 0.005


def test_calorimeter_images_are_mostly_of_minimum_bias_which_has_the_least_energy() -> None:
    label, energy = column(IMAGES, "label"), column(IMAGES, "Region_hwEt")
    assert np.bincount(label).tolist() == [3200, 200, 200, 200, 200]
    means = [np.mean([each.sum() for each in energy[label == kind]]) for kind in range(5)]
    assert min(means[1:]) > 1.1 * means[0]
    for name, n_bins in (("Region_iphi", trigger.N_PHI), ("Region_ieta", trigger.N_ETA)):
        assert sorted(set(np.concatenate(column(IMAGES, name)))) == list(range(n_bins))
