"""Collisions at 13.6 TeV from Pythia 8 with others piled up on each, as the visible particles of each event."""

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The class that comes first is what a trigger is to reject.
CLASSES = ("minimum bias", "ttbar", "VBF H to invisible", "soft unclustered energy", "H to aa to 4b")
BEAM_ENERGY_GEV = 13600.0
PILE_UP = 30.0  # collisions on top of each, on average
BANK = 500  # collisions that those are drawn from, in each part of a sample
MEDIATOR_GEV, TEMPERATURE_GEV, PION_GEV = 400.0, 3.0, 0.13957

_EVENTS_PER_BATCH, _LARGEST_SEED = 100, 900_000_000
_NEUTRINOS, _MEDIATOR = (12, 14, 16), 25
_MINIMUM_BIAS = ("SoftQCD:inelastic=on",)
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

Array = NDArray[np.float64]


def settings() -> dict[str, Any]:
    """Return everything but seed and size that decides what collisions come out: versions, processes, pile-up."""
    return {
        "generator": f"pythia8mc {version('pythia8mc')}",
        "clustering": f"fastjet {version('fastjet')}",
        "classes": list(CLASSES),
        "processes": {name: list(lines) for name, lines in _PROCESSES.items()},
        "beam_energy_gev": BEAM_ENERGY_GEV,
        "pile_up": {"mean": PILE_UP, "bank": BANK},
        "soft": {"mediator_gev": MEDIATOR_GEV, "temperature_gev": TEMPERATURE_GEV},
    }


def make(name: str, *, n_events: int, seed: int) -> Any:
    """Return the visible particles of events of a class, lists of records px, py, pz, E in GeV and id.

    Pile-up is drawn from `BANK` collisions of their own, so rare ones among them come back in other events.
    """
    rng = np.random.default_rng(seed)
    hard = _collisions(_PROCESSES[name], n_events, seed)
    if name == "soft unclustered energy":
        hard = _decayed(hard, rng)
    bank = _collisions(_MINIMUM_BIAS, BANK, 1 + seed % _LARGEST_SEED)
    return _piled_up(hard, bank, rng)


def _collisions(lines: tuple[str, ...], n_events: int, seed: int) -> Any:
    import awkward as ak
    import pythia8mc

    generator = pythia8mc.Pythia("", False)
    run = ("Print:quiet=on", "Random:setSeed=on", f"Random:seed={seed}", f"Beams:eCM={BEAM_ENERGY_GEV}")
    for line in (*run, *lines):
        if not generator.readString(line):
            raise ValueError(f"Pythia refuses the setting {line}")
    if not generator.init():
        raise ValueError(f"Pythia cannot make {' '.join(lines)}")
    batches: list[Any] = []
    while left := n_events - sum(map(len, batches)):
        batches.append(_visible(generator.nextBatch(min(left, _EVENTS_PER_BATCH), "skip").prt))
    return ak.concatenate(batches)


def _visible(particles: Any) -> Any:
    import awkward as ak

    momenta = {"px": particles.p.px, "py": particles.p.py, "pz": particles.p.pz, "E": particles.p.e}
    seen = particles.status > 0
    for neutrino in _NEUTRINOS:
        seen = seen & (abs(particles.id) != neutrino)
    return ak.zip(momenta | {"id": ak.values_astype(particles.id, np.int32)})[seen]


def _decayed(events: Any, rng: np.random.Generator) -> Any:
    """Return events whose mediator has decayed to many soft pions, isotropic where it is at rest."""
    import awkward as ak

    first = events[events.id == _MEDIATOR][:, 0]
    momenta = np.stack([ak.to_numpy(first[name]) for name in ("px", "py", "pz", "E")], axis=1)
    made = [boosted(thermal(MEDIATOR_GEV, rng), momentum) for momentum in momenta]
    counts = [len(pions) for pions in made]
    columns = dict(zip(("px", "py", "pz", "E"), np.concatenate(made).T, strict=True))
    charge = np.where(rng.random(sum(counts)) < 0.5, 211, -211).astype(np.int32)
    return ak.concatenate(
        [events[events.id != _MEDIATOR], ak.unflatten(ak.zip(columns | {"id": charge}), counts)], axis=1
    )


def thermal(mass: float, rng: np.random.Generator) -> Array:
    """Return momenta (n_pions, 4) of a thermal spectrum, isotropic, that add up to a mass at rest."""
    size = 4 * int(mass / TEMPERATURE_GEV)
    sizes, cosines, angles = (
        rng.gamma(3, TEMPERATURE_GEV, size),
        rng.uniform(-1, 1, size),
        rng.uniform(-np.pi, np.pi, size),
    )
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


def boosted(momenta: Array, frame: Array) -> Array:
    """Return momenta (n, 4) at rest as they are where their sum has the direction and speed of a momentum (4,)."""
    beta = frame[:3] / frame[3]
    square = float(beta @ beta)
    if square == 0:
        return momenta
    gamma = 1 / np.sqrt(1 - square)
    along = momenta[:, :3] @ beta
    factor = (gamma - 1) / square * along + gamma * momenta[:, 3]
    return np.column_stack([momenta[:, :3] + factor[:, None] * beta, gamma * (momenta[:, 3] + along)])


def _piled_up(hard: Any, bank: Any, rng: np.random.Generator) -> Any:
    import awkward as ak

    counts = rng.poisson(PILE_UP, len(hard))
    drawn = ak.unflatten(bank[rng.integers(len(bank), size=counts.sum())], counts)
    return ak.concatenate([hard, ak.flatten(drawn, axis=2)], axis=1)
