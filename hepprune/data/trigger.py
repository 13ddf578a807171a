"""What a first-level trigger sees of an event, of true particles: objects and calorimeter regions as whole numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import collisions

Columns = dict[str, NDArray[Any]]

N_EGAMMA, N_MUONS, N_JETS = 4, 4, 10
N_PHI, N_ETA, MAX_REGION_ETA = 18, 14, 3.0
# What one is worth, and the largest number that fits.
PT_GEV, ETA, PHI = 0.5, 0.0435, 2 * np.pi / 144
MUON_ETA, MUON_PHI = 0.010875, 2 * np.pi / 576
MAX_PT = {"L1EG": 511, "L1Mu": 511, "L1Jet": 2047, "MET": 4095, "Region": 1023}
COLLECTIONS = {"L1EG": "n_L1EG", "L1Mu": "n_L1Mu", "L1Jet": "n_L1Jet"}
REGIONS = {"Region": "n_Region"}

_MUON, _ELECTROMAGNETIC = 13, (11, 22)
_EGAMMA_RADIUS, _JET_RADIUS = 0.1, 0.4
_LEAST_GEV = {"L1EG": 3.0, "L1Mu": 3.0, "L1Jet": 15.0}
_MAX_ETA = {"L1EG": 2.5, "L1Mu": 2.4, "L1Jet": 5.0, "MET": 5.0}


def settings() -> dict[str, Any]:
    """Return what decides what is seen, of the collisions too."""
    units = {"hwPt_gev": PT_GEV, "hwEta": ETA, "hwPhi_rad": PHI, "muon_hwEta": MUON_ETA, "muon_hwPhi_rad": MUON_PHI}
    cuts = {"least_gev": _LEAST_GEV, "max_abs_eta": _MAX_ETA, "max_hwPt": MAX_PT}
    return collisions.settings() | {"units": units} | cuts | {"regions": [N_PHI, N_ETA, MAX_REGION_ETA]}


def make_objects(name: str, *, n_jets: int, seed: int) -> Columns:
    """Return, of each event of a class, MET, the leading e/gammas, muons and jets, in whole numbers.

    `MET_hwPt` and `MET_hwPhi` have a number for each event; `n_L1EG` counts its e/gammas, which lie one event after the
    other in `L1EG_hwPt`, `L1EG_hwEta`, `L1EG_hwPhi`; muons (`L1Mu`) and jets (`L1Jet`) likewise.
    """
    particles = collisions.make(name, n_events=n_jets, seed=seed)
    kind = abs(particles.id)
    calorimeter = particles[kind != _MUON]
    electromagnetic = calorimeter[_any_of(abs(calorimeter.id), _ELECTROMAGNETIC)]
    columns: Columns = {"event": np.arange(n_jets), **_missing(calorimeter)}
    columns |= _leading("L1EG", _clustered(electromagnetic, _EGAMMA_RADIUS, _LEAST_GEV["L1EG"]), N_EGAMMA)
    columns |= _leading("L1Mu", particles[kind == _MUON], N_MUONS, eta_unit=MUON_ETA, phi_unit=MUON_PHI)
    return columns | _leading("L1Jet", _clustered(calorimeter, _JET_RADIUS, _LEAST_GEV["L1Jet"]), N_JETS)


def make_regions(name: str, *, n_jets: int, seed: int) -> Columns:
    """Return, of each event of a class, the calorimeter regions that are not empty, among 18 in phi and 14 in eta.

    `n_Region` counts them; `Region_iphi`, `Region_ieta` and `Region_hwEt` lie one event after the other.
    """
    import awkward as ak

    particles = collisions.make(name, n_events=n_jets, seed=seed)
    calorimeter = particles[abs(particles.id) != _MUON]
    event = np.repeat(np.arange(n_jets), ak.to_numpy(ak.num(calorimeter)))
    pt, eta, phi = (ak.to_numpy(ak.flatten(each)) for each in _kinematics(calorimeter))
    energy = ak.to_numpy(ak.flatten(calorimeter.E)) / np.cosh(eta)
    ieta = np.floor((eta + MAX_REGION_ETA) * N_ETA / (2 * MAX_REGION_ETA)).astype(np.int64)
    iphi = np.floor(phi * N_PHI / (2 * np.pi)).astype(np.int64)
    inside = (ieta >= 0) & (ieta < N_ETA) & (pt > 0)
    cell = (event * N_PHI + iphi) * N_ETA + ieta
    sums = np.bincount(cell[inside], energy[inside], minlength=n_jets * N_PHI * N_ETA)
    image = np.minimum(np.floor(sums / PT_GEV), MAX_PT["Region"]).astype(np.int16).reshape(n_jets, N_PHI, N_ETA)
    found, iphi, ieta = np.nonzero(image)
    return {
        "event": np.arange(n_jets),
        "n_Region": np.bincount(found, minlength=n_jets).astype(np.int32),
        "Region_iphi": iphi.astype(np.int8),
        "Region_ieta": ieta.astype(np.int8),
        "Region_hwEt": image[found, iphi, ieta],
    }


def _any_of(values: Any, choices: tuple[int, ...]) -> Any:
    found = values == choices[0]
    for choice in choices[1:]:
        found = found | (values == choice)
    return found


def _kinematics(particles: Any) -> tuple[Any, Any, Any]:
    """Return pT, pseudorapidity, and azimuth in [0, 2 pi)."""
    pt = np.hypot(particles.px, particles.py)
    return pt, np.arcsinh(particles.pz / np.maximum(pt, 1e-9)), np.arctan2(particles.py, particles.px) % (2 * np.pi)


def _missing(calorimeter: Any) -> Columns:
    import awkward as ak

    seen = calorimeter[abs(_kinematics(calorimeter)[1]) < _MAX_ETA["MET"]]
    px, py = -ak.to_numpy(ak.sum(seen.px, axis=1)), -ak.to_numpy(ak.sum(seen.py, axis=1))
    return {
        "MET_hwPt": _whole(np.hypot(px, py), PT_GEV, MAX_PT["MET"]),
        "MET_hwPhi": _whole(np.arctan2(py, px) % (2 * np.pi), PHI, 143),
    }


def _clustered(particles: Any, radius: float, least_gev: float) -> Any:
    import awkward as ak
    import fastjet

    momenta = ak.with_name(particles[["px", "py", "pz", "E"]], "Momentum4D")
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    return fastjet.ClusterSequence(momenta, definition).inclusive_jets(min_pt=least_gev)


def _leading(name: str, objects: Any, n: int, *, eta_unit: float = ETA, phi_unit: float = PHI) -> Columns:
    import awkward as ak

    pt, eta, _ = _kinematics(objects)
    kept = objects[(pt > _LEAST_GEV[name]) & (abs(eta) < _MAX_ETA[name])]
    ordered = kept[ak.argsort(_kinematics(kept)[0], ascending=False)][:, :n]
    pt, eta, phi = (ak.to_numpy(ak.flatten(each)) for each in _kinematics(ordered))
    return {
        f"n_{name}": ak.to_numpy(ak.num(ordered)).astype(np.int32),
        f"{name}_hwPt": _whole(pt, PT_GEV, MAX_PT[name]),
        f"{name}_hwEta": np.floor(eta / eta_unit).astype(np.int16),
        f"{name}_hwPhi": _whole(phi, phi_unit, round(2 * np.pi / phi_unit) - 1),
    }


def _whole(values: NDArray[Any], unit: float, largest: int) -> NDArray[np.int16]:
    return np.minimum(np.floor(values / unit), largest).astype(np.int16)
