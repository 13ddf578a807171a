"""Collisions at 13.6 TeV from Pythia 8 with others piled up on each, as the visible particles of each event."""

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import awkward as ak

# The class that comes first is what a trigger is to reject.
CLASSES = ("minimum bias", "ttbar", "VBF H to invisible", "soft unclustered energy", "H to aa to 4b")
BEAM_ENERGY_GEV = 13600.0
PILE_UP = 30.0  # collisions on top of each, on average
REUSE = 60  # how often each soft one comes back, on average, in each part of a sample
FEWEST = 100  # soft ones that even a small part draws from
HARD_GEV, HARD_SHARE = 30.0, 0.00222  # pT of partons from which one comes only once: 0.175 of 78.6 mb
MAX_ETA = 5.4  # beyond it nothing is seen
MEDIATOR_GEV, TEMPERATURE_GEV, PION_GEV = 400.0, 3.0, 0.13957

_COLLISIONS_PER_BATCH, _EVENTS_PER_BATCH, _LARGEST_SEED = 100, 500, 900_000_000
NEUTRINOS, _MEDIATOR = (12, 14, 16), 25
_MINIMUM_BIAS = ("SoftQCD:inelastic=on",)
_HARD = ("HardQCD:all=on", f"PhaseSpace:pTHatMin={HARD_GEV}")
_PROCESSES = {
    "minimum bias": _MINIMUM_BIAS,
    "ttbar": ("Top:gg2ttbar=on", "Top:qqbar2ttbar=on"),
    "VBF H to invisible": (
        *("HiggsSM:ff2Hff(t:ZZ)=on", "HiggsSM:ff2Hff(t:WW)=on", "25:onMode=off", "25:onIfMatch=23 23"),
        *("23:onMode=off", "23:onIfAny=12 14 16"),
    ),
    "soft unclustered energy": ("HiggsSM:gg2H=on", f"25:m0={MEDIATOR_GEV}", "25:mayDecay=off"),
    "H to aa to 4b": (
        *("HiggsSM:gg2H=on", "36:m0=40", "36:mWidth=0.01", "36:mMin=39", "36:mMax=41", "36:oneChannel=1 1.0 100 5 -5"),
        *("25:addChannel=1 0.5 100 36 36", "25:onMode=off", "25:onIfMatch=36 36"),
    ),
}

Floats = NDArray[np.float64]


def settings() -> dict[str, Any]:
    """Return everything but seed, size and versions that decides what collisions come out: processes, pile-up."""
    return {
        "classes": list(CLASSES),
        "processes": {name: list(lines) for name, lines in _PROCESSES.items()},
        "beam_energy_gev": BEAM_ENERGY_GEV,
        "pile_up": {"mean": PILE_UP, "reuse": REUSE, "hard_gev": HARD_GEV, "hard_share": HARD_SHARE},
        "max_abs_eta": MAX_ETA,
        "soft": {"mediator_gev": MEDIATOR_GEV, "temperature_gev": TEMPERATURE_GEV},
    }


def make(name: str, *, n_events: int, seed: int) -> Iterator[Any]:
    """Yield the visible particles of events of a class in batches, lists of records pt, eta, phi, et and id.

    Energies are in GeV, `et` is E / cosh(eta), and phi lies in [0, 2 pi). Minimum bias is one collision more than piles
    up on others. Soft collisions are drawn from a bank and come back in other events; hard ones, which are what a
    trigger takes of them, do not.
    """
    rng, alone = np.random.default_rng(seed), name == "minimum bias"
    counts = rng.poisson(PILE_UP, n_events) + alone
    n_hard = rng.binomial(counts, HARD_SHARE)
    n_soft = max(round(n_events * PILE_UP / REUSE), FEWEST)
    bank = _seen(_collisions(_MINIMUM_BIAS, n_soft, seed, below_gev=HARD_GEV))
    hard = _seen(_collisions(_HARD, n_hard.sum(), 1 + seed % _LARGEST_SEED)) if n_hard.any() else bank[:0]
    own = bank[:0]
    if not alone:
        found = _collisions(_PROCESSES[name], n_events, 1 + (seed + 1) % _LARGEST_SEED)
        own = _seen(_decayed(found, rng) if name == "soft unclustered energy" else found)
    ends = np.cumsum(n_hard)
    for start in range(0, n_events, _EVENTS_PER_BATCH):
        some = slice(start, start + _EVENTS_PER_BATCH)
        soft = bank[rng.integers(len(bank), size=(counts - n_hard)[some].sum())]
        rare = hard[ends[some][0] - n_hard[some][0] : ends[some][-1]]
        parts = [_joined(soft, (counts - n_hard)[some]), _joined(rare, n_hard[some])]
        yield ak.concatenate(parts if alone else [own[some], *parts], axis=1)


def _joined(collisions: Any, counts: NDArray[np.int64]) -> Any:
    return ak.flatten(ak.unflatten(collisions, counts), axis=2)


def generator(lines: tuple[str, ...], *, seed: int, energy_gev: float) -> Any:
    """Return Pythia with these settings, ready to make collisions.

    Raises:
        ValueError: it refuses a setting, or cannot make what they ask for.
    """
    import pythia8mc

    found = pythia8mc.Pythia("", False)
    run = ("Print:quiet=on", "Random:setSeed=on", f"Random:seed={seed}", f"Beams:eCM={energy_gev}")
    for line in (*run, *lines):
        if not found.readString(line):
            raise ValueError(f"Pythia refuses the setting {line}")
    if not found.init():
        raise ValueError(f"Pythia cannot make {' '.join(lines)}")
    return found


def any_of(values: Any, choices: tuple[int, ...]) -> Any:
    """Return whether values, of any shape, are among some."""
    return reduce(or_, (values == choice for choice in choices))


def _collisions(lines: tuple[str, ...], n_events: int, seed: int, *, below_gev: float = np.inf) -> Any:
    """Return visible momenta of collisions; those whose partons have more transverse momentum are left out."""
    made = generator(lines, seed=seed, energy_gev=BEAM_ENERGY_GEV)
    batches: list[Any] = []
    left = int(n_events)
    while left:
        batch = made.nextBatch(min(left, _COLLISIONS_PER_BATCH), "skip")
        left -= len(batch)
        particles = batch.prt[batch.info.pT2Hat < below_gev**2]
        momenta = {"px": particles.p.px, "py": particles.p.py, "pz": particles.p.pz, "E": particles.p.e}
        seen = (particles.status > 0) & ~any_of(abs(particles.id), NEUTRINOS)
        batches.append(ak.zip(momenta | {"id": ak.values_astype(particles.id, np.int32)})[seen])
    return ak.concatenate(batches)


def _seen(particles: Any) -> Any:
    pt = np.hypot(particles.px, particles.py)
    eta = np.arcsinh(particles.pz / np.maximum(pt, 1e-9))
    phi = np.arctan2(particles.py, particles.px) % (2 * np.pi)
    records = ak.zip({"pt": pt, "eta": eta, "phi": phi, "et": particles.E / np.cosh(eta), "id": particles.id})
    return records[abs(eta) < MAX_ETA]


def _decayed(events: Any, rng: np.random.Generator) -> Any:
    """Return events whose mediator has decayed to many soft pions, isotropic where it is at rest."""
    first = events[events.id == _MEDIATOR][:, 0]
    momenta = np.stack([ak.to_numpy(first[name]) for name in ("px", "py", "pz", "E")], axis=1)
    made = [boosted(thermal(MEDIATOR_GEV, rng), momentum) for momentum in momenta]
    counts = [len(pions) for pions in made]
    columns = dict(zip(("px", "py", "pz", "E"), np.concatenate(made).T, strict=True))
    charge = np.where(rng.random(sum(counts)) < 0.5, 211, -211).astype(np.int32)
    pions = ak.unflatten(ak.zip(columns | {"id": charge}), counts)
    return ak.concatenate([events[events.id != _MEDIATOR], pions], axis=1)


def thermal(mass: float, rng: np.random.Generator) -> Floats:
    """Return momenta (n_pions, 4) of a thermal spectrum, isotropic, that add up to a mass at rest."""
    size = 4 * int(mass / TEMPERATURE_GEV)
    sizes = rng.gamma(3, TEMPERATURE_GEV, size)
    cosines, angles = rng.uniform(-1, 1, size), rng.uniform(-np.pi, np.pi, size)
    n_pions = int(np.searchsorted(np.cumsum(np.hypot(sizes, PION_GEV)), mass))
    sines = np.sqrt(1 - cosines**2)
    directions = np.stack([sines * np.cos(angles), sines * np.sin(angles), cosines], axis=1)
    momenta = (sizes[:, None] * directions)[: max(n_pions, 2)]
    momenta -= momenta.mean(axis=0)
    low, high = 0.0, 10.0  # one factor for all momenta gives the mass exactly
    for _ in range(60):
        middle = (low + high) / 2
        energy = np.sqrt((middle * momenta) ** 2 @ np.ones(3) + PION_GEV**2).sum()
        low, high = (middle, high) if energy < mass else (low, middle)
    momenta *= low
    return np.column_stack([momenta, np.sqrt((momenta**2).sum(axis=1) + PION_GEV**2)])


def boosted(momenta: Floats, frame: Floats) -> Floats:
    """Return momenta (n, 4) at rest as they are where their sum has the direction and speed of a momentum (4,)."""
    beta = frame[:3] / frame[3]
    square = float(beta @ beta)
    if square == 0:
        return momenta
    gamma = 1 / np.sqrt(1 - square)
    along = momenta[:, :3] @ beta
    factor = (gamma - 1) / square * along + gamma * momenta[:, 3]
    return np.column_stack([momenta[:, :3] + factor[:, None] * beta, gamma * (momenta[:, 3] + along)])
