"""Jets of five kinds from Pythia 8 at 13 TeV, clustered and groomed with FastJet."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import awkward as ak
from hepprune.data.production import collisions, features

CLASSES = ("g", "q", "W", "Z", "t")
N_CONSTITUENTS = 32
PDG_CLASSES = ("padding", "charged hadron", "neutral hadron", "photon", "electron", "muon")

BEAM_ENERGY_GEV = 13000.0
PT_MIN_GEV, PT_MAX_GEV = 800.0, 1600.0
# Partons from outside the window radiate or recoil into it.
PT_HAT_MIN_GEV, PT_HAT_MAX_GEV = 750.0, 1800.0
RADIUS = 0.8
ABS_RAPIDITY_MAX = 2.5
# Less than half the distance between two jets, so that one parton never labels two of them.
MATCH_RADIUS = 0.4
MMDT_BETA, MMDT_Z_CUT = 0.0, 0.1

_EVENTS_PER_BATCH = 50
_HARD_PROCESS = (-22, -23)  # status of its resonances and of its other outgoing partons
_HADRONIC = ("23:onMode=off", "23:onIfAny=1 2 3 4 5", "24:onMode=off", "24:onIfAny=1 2 3 4 5")
_PROCESSES = {
    "g": ("HardQCD:gg2gg=on", "HardQCD:qqbar2gg=on"),
    "q": ("HardQCD:qq2qq=on", "HardQCD:gg2qqbar=on", "HardQCD:qqbar2qqbarNew=on"),
    "W": ("WeakDoubleBoson:ffbar2WW=on",),
    "Z": ("WeakDoubleBoson:ffbar2gmZgmZ=on", "WeakZ0:gmZmode=2"),
    "t": ("Top:gg2ttbar=on", "Top:qqbar2ttbar=on"),
}
_PARTONS = {"g": (21,), "q": (1, 2, 3, 4, 5), "W": (24,), "Z": (23,), "t": (6,)}

Floats = NDArray[np.float64]
JetColumns = dict[str, NDArray[Any]]


def settings() -> dict[str, Any]:
    """Return everything but seed, size and versions that decides what jets come out: processes, cuts in GeV."""
    return {
        "classes": list(CLASSES),
        "processes": {name: list(lines) for name, lines in _PROCESSES.items()},
        "beam_energy_gev": BEAM_ENERGY_GEV,
        "pt_hat_gev": [PT_HAT_MIN_GEV, PT_HAT_MAX_GEV],
        "jet": {"algorithm": "anti-kT", "radius": RADIUS, "pt_gev": [PT_MIN_GEV, PT_MAX_GEV]}
        | {"abs_rapidity_max": ABS_RAPIDITY_MAX, "match_radius": MATCH_RADIUS},
        "grooming": {"algorithm": "mMDT", "beta": MMDT_BETA, "z_cut": MMDT_Z_CUT},
        "pdg_classes": list(PDG_CLASSES),
    }


def make_jets(name: str, *, n_jets: int, seed: int) -> JetColumns:
    """Return the first `n_jets` jets of class `name` that this seed makes.

    Per-jet columns have shape (n_jets,): `event` counts the generated events from 0, then pt, eta, phi and mass in
    GeV and radians, and `FEATURES`. `n_constituents` counts the leading constituents of each jet, which lie one jet
    after the other in `constituent_*`.
    """
    rows: list[JetColumns] = []
    window = (f"PhaseSpace:pTHatMin={PT_HAT_MIN_GEV}", f"PhaseSpace:pTHatMax={PT_HAT_MAX_GEV}")
    lines = (*window, *_HADRONIC, *_PROCESSES[name])
    generator = collisions.generator(lines, seed=seed, energy_gev=BEAM_ENERGY_GEV)
    batch = 0
    while len(rows) < n_jets:
        rows.extend(_batch(generator, name, first_event=batch * _EVENTS_PER_BATCH))
        batch += 1
    rows = rows[:n_jets]
    return {column: np.concatenate([row[column] for row in rows]) for column in rows[0]}


def _batch(generator: Any, name: str, *, first_event: int) -> Iterator[JetColumns]:
    particles = generator.nextBatch(_EVENTS_PER_BATCH, "skip").prt
    momenta = {"px": particles.p.px, "py": particles.p.py, "pz": particles.p.pz, "E": particles.p.e}
    particles = ak.zip({"id": particles.id, "status": particles.status} | momenta)
    visible = particles[(particles.status > 0) & ~collisions.any_of(abs(particles.id), collisions.NEUTRINOS)]
    hard = particles[collisions.any_of(particles.status, _HARD_PROCESS)]
    chosen = _jets(visible, hard, _PARTONS[name])
    groomed = groom([momenta for _, _, momenta in chosen])
    for (event, ids, constituents), core in zip(chosen, groomed, strict=True):
        row = _row(constituents, core) | _particles(constituents, ids, data=generator.particleData)
        yield row | {"event": np.array([first_event + event], np.int64)}


def _jets(visible: Any, hard: Any, partons: tuple[int, ...]) -> list[tuple[int, NDArray[np.int32], Floats]]:
    """Return (event, particle ids, momenta) of the jets inside the cuts that a hard parton points at."""
    import fastjet

    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    clusters = fastjet.ClusterSequence(_four_momenta(visible), definition).constituent_index(PT_MIN_GEV).to_list()
    chosen: list[tuple[int, NDArray[np.int32], Floats]] = []
    events = zip(clusters, _per_event(visible), _per_event(hard), strict=True)
    for event, (jets, (ids, momenta), (hard_ids, hard_momenta)) in enumerate(events):
        axes = hard_momenta[np.isin(abs(hard_ids), partons)]
        inside = [index for index in jets if _inside(momenta[index].sum(axis=0), axes)]
        chosen.extend((event, ids[index], momenta[index]) for index in inside)
    return chosen


def _per_event(particles: Any) -> list[tuple[NDArray[np.int32], Floats]]:
    ends = np.cumsum(ak.to_numpy(ak.num(particles)))[:-1]
    flat = ak.flatten(particles)
    return list(zip(np.split(ak.to_numpy(flat.id), ends), np.split(_array(flat), ends), strict=True))


def _inside(jet: Floats, axes: Floats) -> bool:
    if not (PT_MIN_GEV <= features.pt(jet) < PT_MAX_GEV and abs(features.rapidity(jet)) < ABS_RAPIDITY_MAX):
        return False
    y = features.rapidity(axes) - features.rapidity(jet)
    phi = features.wrapped(features.azimuth(axes) - features.azimuth(jet))
    return bool(np.any(np.hypot(y, phi) < MATCH_RADIUS))


def groom(jets: list[Floats]) -> list[Floats]:
    """Return the momenta (n, 4) that the modified mass-drop tagger leaves of each jet's.

    Dasgupta, Fregoso, Marzani and Salam, arXiv:1307.0007.
    """
    import fastjet

    if not jets:
        return []
    columns = zip(("px", "py", "pz", "E"), np.concatenate(jets).T, strict=True)
    momenta = ak.unflatten(ak.zip(dict(columns)), [len(jet) for jet in jets])
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    groomed = fastjet.ClusterSequence(_four_momenta(momenta), definition).exclusive_jets_softdrop_grooming(
        njets=1, beta=MMDT_BETA, symmetry_cut=MMDT_Z_CUT, R0=RADIUS
    )
    left = groomed.constituents
    return np.split(_array(ak.flatten(left)), np.cumsum(ak.to_numpy(ak.num(left)))[:-1])


def _four_momenta(particles: Any) -> Any:
    return ak.with_name(particles[["px", "py", "pz", "E"]], "Momentum4D")


def _array(particles: Any) -> Floats:
    return np.stack([ak.to_numpy(particles[name]) for name in ("px", "py", "pz", "E")], axis=-1)


def _row(constituents: Floats, groomed: Floats) -> JetColumns:
    jet = constituents.sum(axis=0)
    scalars: dict[str, Any] = {"pt": features.pt(jet), "eta": _pseudorapidity(jet), "phi": features.azimuth(jet)}
    scalars |= {"mass": features.mass(jet)}
    scalars |= dict(zip(features.FEATURES, features.jet_features(constituents, groomed), strict=True))
    return {name: np.array([value], np.float32) for name, value in scalars.items()}


def _particles(constituents: Floats, ids: NDArray[np.int32], *, data: Any) -> JetColumns:
    jet = constituents.sum(axis=0)
    order = np.argsort(-features.pt(constituents), kind="stable")[:N_CONSTITUENTS]
    leading, charges = constituents[order], np.array([data.charge(int(name)) for name in ids[order]])
    return {
        "n_constituents": np.array([len(order)], np.int32),
        "constituent_pt": features.pt(leading).astype(np.float32),
        "constituent_deta": (_pseudorapidity(leading) - _pseudorapidity(jet)).astype(np.float32),
        "constituent_dphi": features.wrapped(features.azimuth(leading) - features.azimuth(jet)).astype(np.float32),
        "constituent_pdg": _pdg_classes(abs(ids[order]), charged=charges != 0),
        "constituent_charge": np.rint(charges).astype(np.int8),
    }


def _pdg_classes(ids: NDArray[np.int32], *, charged: NDArray[np.bool_]) -> NDArray[np.int8]:
    named = {22: "photon", 11: "electron", 13: "muon"}
    kinds = np.where(charged, PDG_CLASSES.index("charged hadron"), PDG_CLASSES.index("neutral hadron"))
    for pdg_id, kind in named.items():
        kinds[ids == pdg_id] = PDG_CLASSES.index(kind)
    return kinds.astype(np.int8)


def _pseudorapidity(momenta: Floats) -> Floats:
    return np.arcsinh(momenta[..., 2] / features.pt(momenta))
