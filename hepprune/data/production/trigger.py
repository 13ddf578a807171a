"""What a first-level trigger sees of an event, of true particles: objects and calorimeter regions as whole numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import awkward as ak
from hepprune.data.production import collisions

JetColumns = dict[str, NDArray[Any]]

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
_N_TOWERS, _TOWER_ETA = (72, 116), 2 * np.pi / 72  # in phi and eta, and how wide in either
_NOISE_GEV = 0.5  # towers and e/gamma with less are taken for noise
_LEAST_GEV = {"L1EG": 3.0, "L1Mu": 3.0, "L1Jet": 15.0}
_MAX_ETA = {"L1EG": 2.5, "L1Mu": 2.4, "L1Jet": 5.0, "MET": 5.0}


def settings() -> dict[str, Any]:
    """Return what decides what is seen, of the collisions too."""
    units = {"hwPt_gev": PT_GEV, "hwEta": ETA, "hwPhi_rad": PHI, "muon_hwEta": MUON_ETA, "muon_hwPhi_rad": MUON_PHI}
    cuts = {"least_gev": _LEAST_GEV, "noise_gev": _NOISE_GEV, "object_max_abs_eta": _MAX_ETA, "max_hwPt": MAX_PT}
    cells = {"regions": [N_PHI, N_ETA, MAX_REGION_ETA], "towers": [*_N_TOWERS, _TOWER_ETA]}
    return collisions.settings() | {"units": units} | cuts | cells


def make_objects(name: str, *, n_jets: int, seed: int) -> JetColumns:
    """Return, of each event of a class, MET, the leading e/gammas, muons and jets, in whole numbers.

    `MET_hwPt` and `MET_hwPhi` have a number for each event; `n_L1EG` counts its e/gammas, which lie one event after the
    other in `L1EG_hwPt`, `L1EG_hwEta`, `L1EG_hwPhi`; muons (`L1Mu`) and jets (`L1Jet`) likewise.
    """
    return _made(_objects, name, n_jets, seed)


def make_regions(name: str, *, n_jets: int, seed: int) -> JetColumns:
    """Return, of each event of a class, the calorimeter regions that are not empty, among 18 in phi and 14 in eta.

    `n_Region` counts them; `Region_iphi`, `Region_ieta` and `Region_hwEt` lie one event after the other.
    """
    return _made(_regions, name, n_jets, seed)


def _made(see: Callable[[Any], JetColumns], name: str, n_events: int, seed: int) -> JetColumns:
    batches = [see(particles) for particles in collisions.make(name, n_events=n_events, seed=seed)]
    joined = {column: np.concatenate([batch[column] for batch in batches]) for column in batches[0]}
    return {"event": np.arange(n_events), **joined}


def _objects(particles: Any) -> JetColumns:
    muons = abs(particles.id) == _MUON
    soft = (particles.pt < _NOISE_GEV) | (abs(particles.eta) > _MAX_ETA["L1EG"] + _EGAMMA_RADIUS)
    showers = particles[collisions.any_of(abs(particles.id), _ELECTROMAGNETIC) & ~soft]
    columns = _missing(particles)
    columns |= _leading("L1EG", _clustered(showers, _EGAMMA_RADIUS, _LEAST_GEV["L1EG"]), N_EGAMMA)
    columns |= _leading("L1Mu", particles[muons], N_MUONS, eta_unit=MUON_ETA, phi_unit=MUON_PHI)
    return columns | _leading("L1Jet", _clustered(_towers(particles), _JET_RADIUS, _LEAST_GEV["L1Jet"]), N_JETS)


def _regions(particles: Any) -> JetColumns:
    shape, width = (N_PHI, N_ETA), 2 * MAX_REGION_ETA / N_ETA
    sums = _deposited(particles, shape, eta=width)
    image = np.minimum(np.floor(sums / PT_GEV), MAX_PT["Region"]).astype(np.int16)
    found, iphi, ieta = np.nonzero(image)
    return {
        "n_Region": np.bincount(found, minlength=len(image)).astype(np.int32),
        "Region_iphi": iphi.astype(np.int8),
        "Region_ieta": ieta.astype(np.int8),
        "Region_hwEt": image[found, iphi, ieta],
    }


def _deposited(particles: Any, shape: tuple[int, int], *, eta: float) -> NDArray[Any]:
    """Return the transverse energy [GeV] of all but muons in cells of phi and of eta, of the given width around 0."""
    event, flat = _flat(particles)
    n_phi, n_eta = shape
    ieta = np.floor(flat["eta"] / eta).astype(np.int64) + n_eta // 2
    iphi = np.floor(flat["phi"] * n_phi / (2 * np.pi)).astype(np.int64) % n_phi
    seen = (ieta >= 0) & (ieta < n_eta) & (abs(flat["id"]) != _MUON)
    cell = (event * n_phi + iphi) * n_eta + ieta
    sums: NDArray[Any] = np.bincount(cell[seen], flat["et"][seen], minlength=len(particles) * n_phi * n_eta)
    return sums.reshape(len(particles), n_phi, n_eta)


def _towers(particles: Any) -> Any:
    """Return the towers above noise as particles without mass at their centres."""
    n_phi, n_eta = _N_TOWERS
    sums = _deposited(particles, _N_TOWERS, eta=_TOWER_ETA)
    event, iphi, ieta = np.nonzero(sums >= _NOISE_GEV)
    centres = {"eta": (ieta + 0.5 - n_eta // 2) * _TOWER_ETA, "phi": (iphi + 0.5) * (2 * np.pi / n_phi)}
    counts = np.bincount(event, minlength=len(sums))
    return ak.unflatten(ak.zip({"pt": sums[event, iphi, ieta], **centres}), counts)


def _flat(particles: Any) -> tuple[NDArray[np.int64], JetColumns]:
    event = np.repeat(np.arange(len(particles)), ak.to_numpy(ak.num(particles)))
    return event, {name: ak.to_numpy(ak.flatten(particles[name])) for name in particles.fields}


def _missing(particles: Any) -> JetColumns:
    event, flat = _flat(particles)
    seen = (abs(flat["eta"]) < _MAX_ETA["MET"]) & (abs(flat["id"]) != _MUON)
    px, py = (
        -np.bincount(event[seen], (flat["pt"] * turned(flat["phi"]))[seen], minlength=len(particles))
        for turned in (np.cos, np.sin)
    )
    return {
        "MET_hwPt": _whole(np.hypot(px, py), PT_GEV, MAX_PT["MET"]),
        "MET_hwPhi": _whole(np.arctan2(py, px) % (2 * np.pi), PHI, 143),
    }


def _clustered(particles: Any, radius: float, least_gev: float) -> Any:
    import fastjet

    pt, eta, phi = particles.pt, particles.eta, particles.phi
    momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "E": pt * np.cosh(eta)}
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    found = fastjet.ClusterSequence(ak.zip(momenta, with_name="Momentum4D"), definition).inclusive_jets(least_gev)
    pt = np.hypot(found.px, found.py)
    return ak.zip({"pt": pt, "eta": np.arcsinh(found.pz / pt), "phi": np.arctan2(found.py, found.px) % (2 * np.pi)})


def _leading(name: str, objects: Any, n: int, *, eta_unit: float = ETA, phi_unit: float = PHI) -> JetColumns:
    kept = objects[(objects.pt > _LEAST_GEV[name]) & (abs(objects.eta) < _MAX_ETA[name])]
    ordered = kept[ak.argsort(kept.pt, ascending=False)][:, :n]
    _, flat = _flat(ordered)
    return {
        f"n_{name}": ak.to_numpy(ak.num(ordered)).astype(np.int32),
        f"{name}_hwPt": _whole(flat["pt"], PT_GEV, MAX_PT[name]),
        f"{name}_hwEta": np.floor(flat["eta"] / eta_unit).astype(np.int16),
        f"{name}_hwPhi": _whole(flat["phi"], phi_unit, round(2 * np.pi / phi_unit) - 1),
    }


def _whole(values: NDArray[Any], unit: float, largest: int) -> NDArray[np.int16]:
    return np.minimum(np.floor(values / unit), largest).astype(np.int16)
