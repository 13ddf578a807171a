"""Events as a trigger sees them: momentum adds up, whole numbers are those of particles, the same seed gives the same."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune import executors
from hepprune.data import production, read, reading
from hepprune.data.files import root
from hepprune.data.inputs import Image
from hepprune.data.production import collisions, trigger
from hepprune.errors import DataError

pytestmark = pytest.mark.xdist_group("production")
MAKE = collisions.make


@given(seed=st.integers(0, 2**32), mass=st.floats(50, 800))
def test_a_thermal_decay_has_the_mediators_momentum(seed: int, mass: float) -> None:
    rng = np.random.default_rng(seed)
    pions = collisions.thermal(mass, rng)
    assert pions.sum(axis=0) == pytest.approx(np.array([0, 0, 0, mass]), abs=1e-6 * mass)
    frame = rng.normal(0, 100, 3)
    momentum = np.append(frame, np.sqrt(mass**2 + frame @ frame))
    assert collisions.boosted(pions, momentum).sum(axis=0) == pytest.approx(momentum, rel=1e-6, abs=1e-5 * mass)
    masses = pions[:, 3] ** 2 - (pions[:, :3] ** 2).sum(axis=1)
    assert masses == pytest.approx(np.full(len(pions), collisions.PION_GEV**2), abs=1e-6)
    assert (collisions.boosted(pions, np.array([0, 0, 0, mass])) == pions).all()


def particle(pt: float, eta: float, phi: float, pdg: int) -> dict[str, float]:
    return {"pt": pt, "eta": eta, "phi": phi, "et": pt, "id": pdg}


EVENT = [
    particle(40.2, 0.1, 1.0, 22),
    particle(9.0, 0.14, 1.02, -11),  # of the same shower
    particle(25.0, -1.2, 4.0, 13),
    particle(2.0, 1.0, 2.0, 13),  # too soft
    particle(100.0, -2.8, 6.0, 211),
    particle(3.0, 2.0, 3.0, 211),
]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        collisions, "make", lambda *_, **__: iter([ak.Array([EVENT]), ak.Array([EVENT[2:3], EVENT[::-1]])])
    )


@pytest.mark.usefixtures("events")
def test_objects_are_those_of_the_particles_in_whole_numbers() -> None:
    found = trigger.make_objects("ttbar", n_jets=3, seed=1)
    assert found["n_L1EG"].tolist() == [1, 0, 1]
    assert found["L1EG_hwPt"] == pytest.approx(np.full(2, 49.2 / 0.5), abs=1)
    assert found["L1Mu_hwPt"].tolist() == [49, 49, 49] or found["L1Mu_hwPt"].tolist() == [50, 50, 50]
    assert found["L1Mu_hwEta"].tolist() == [int(np.floor(-1.2 / 0.010875))] * 3
    assert found["L1Mu_hwPhi"].tolist() == [int(4.0 / (2 * np.pi / 576))] * 3
    assert found["n_L1Jet"].tolist() == [2, 0, 2]
    assert found["L1Jet_hwPt"][0] == pytest.approx(200, abs=1)
    calorimeter = [p for p in EVENT if p["id"] != 13]
    missing = abs(sum(p["pt"] * np.exp(1j * p["phi"]) for p in calorimeter))
    assert found["MET_hwPt"].tolist() == [int(missing / 0.5), 0, int(missing / 0.5)]


@pytest.mark.usefixtures("events")
def test_regions_hold_the_energy_of_the_calorimeter() -> None:
    found = trigger.make_regions("ttbar", n_jets=3, seed=1)
    assert found["n_Region"].tolist() == [3, 0, 3]
    rows = set(zip(found["Region_iphi"][:3].tolist(), found["Region_ieta"][:3].tolist(), strict=True))
    places = [
        (int(phi * 18 / (2 * np.pi)), int((eta + 3) * 14 / 6)) for eta, phi in ((0.1, 1.0), (-2.8, 6.0), (2.0, 3.0))
    ]
    assert rows == set(places)
    assert found["Region_hwEt"][:3].sum() == pytest.approx((40.2 + 9 + 100 + 3) / 0.5, abs=3)


class Collided(dict[tuple[str, int, int], list[Any]]):
    """What was made of orders of collisions, each once, since starting Pythia takes long."""

    def make(self, name: str, *, n_events: int, seed: int) -> list[Any]:
        order = name, n_events, seed
        if order not in self:
            self[order] = list(MAKE(name, n_events=n_events, seed=seed))
        return self[order]


@pytest.fixture(scope="module")
def collided() -> Collided:
    return Collided()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few collisions, of one hard scattering each: preparing further ones in each takes Pythia seconds."""
    alone = "PartonLevel:MPI=off"
    processes = {name: (*lines, alone) for name, lines in collisions._PROCESSES.items()}
    monkeypatch.setattr(collisions, "_PROCESSES", processes)
    monkeypatch.setattr(collisions, "_MINIMUM_BIAS", ("HardQCD:all=on", "PhaseSpace:pTHatMin=5", alone))
    monkeypatch.setattr(collisions, "REUSE", 0.5)
    monkeypatch.setattr(collisions, "PILE_UP", 1.0)
    monkeypatch.setattr(collisions, "FEWEST", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", ["l1_objects", "calo"])
def test_a_sample_is_made_by_any_workers_and_is_read(
    kind: str, collided: Collided, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collisions, "make", collided.make)
    monkeypatch.setattr(production, "JETS_PER_SHARD", 1)
    made = []
    for place in ("serial", "threads:2"):
        path = tmp_path / f"{place[:6]}.root"
        with executors.open(place) as pool:
            production.generate(5, path, kind=kind, seed=4, executor=pool)
        made.append(path)
    wanted: dict[str, Any] = {"classes": collisions.CLASSES}
    if kind == "l1_objects":
        features = ["MET_hwPt", "leading(L1EG_hwPt, 4)", "leading(L1Mu_hwPt, 4)", "leading(L1Jet_hwPt, 10)"]
        one, other = (read(str(path), features=features, **wanted) for path in made)
        assert one.x.shape == (5, 19)
        assert (np.diff(one.x[:, 9:], axis=1) <= 0).all()
    else:
        image = Image(
            x="Region_iphi", y="Region_ieta", weight="Region_hwEt", bins=(18, 14), range=((-0.5, 17.5), (-0.5, 13.5))
        )
        one, other = (reading.read_inputs(str(path), {"image": image}, **wanted)["image"] for path in made)
        assert one.x.shape == (5, 18, 14, 1)
        assert (one.x.sum(axis=(1, 2, 3)) > 0).sum() > 2
    assert np.array_equal(one.x, other.x)
    assert sorted(one.y.tolist()) == [*range(5)]
    assert root.metadata(made[0])["kind"] == kind
    production.check_made(made[0], n_jets=5, seed=4, kind=kind)
    with pytest.raises(DataError, match=f"holds 5 {kind} of seed 4, where 5 jets of seed 4 are to be made"):
        production.check_made(made[0], n_jets=5, seed=4)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_seed_gives_the_same_collisions_again(collided: Collided) -> None:
    soft = "soft unclustered energy", 1, 5
    name, n_events, seed = next((order for order in collided if order[0] == soft[0]), soft)
    one, again = collided.make(name, n_events=n_events, seed=seed), MAKE(name, n_events=n_events, seed=seed)
    assert [part.to_list() for part in one] == [part.to_list() for part in again]


def test_the_background_has_its_share_and_the_signals_the_rest() -> None:
    shards = production.plan(100_000, seed=1, kind="l1_objects", background=0.9)
    sizes = [sum(shard.n_jets for shard in shards if shard.label == label) for label in range(5)]
    assert sizes == [90_000, 2500, 2500, 2500, 2500]
    assert max(shard.n_jets for shard in shards) == 5 * production.JETS_PER_SHARD
    assert len({shard.number for shard in shards}) == len(shards)
    fewest = production.plan(5, seed=1, kind="calo", background=0.99)
    assert [shard.n_jets for shard in fewest] == [1] * 5


@pytest.mark.parametrize(
    ("kind", "background", "said"),
    [
        ("jets", 0.5, "the kind jets has no background; give its share of l1_objects or calo"),
        ("calo", 1.0, "the share of background lies between 0 and 1, and 1 does not"),
    ],
)
def test_a_share_of_what_is_no_background_is_refused(kind: str, background: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        production.check_background(kind, background)


@pytest.mark.slow
def test_soft_collisions_come_back_and_hard_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collisions, "PILE_UP", 2.0)
    monkeypatch.setattr(collisions, "REUSE", 20)
    monkeypatch.setattr(collisions, "HARD_SHARE", 0.5)
    monkeypatch.setattr(collisions, "FEWEST", 1)
    (events,) = collisions.make("minimum bias", n_events=20, seed=3)
    assert len(events) == 20
    assert ak.to_numpy(ak.flatten(events.phi)).min() >= 0
    hard = [set(ak.to_list(event.pt[event.pt > 12])) for event in events]
    assert sum(map(len, hard)) > 5
    assert len(set.union(*hard)) == sum(map(len, hard))  # none twice
    soft = [set(ak.to_list(event.pt)) for event in events]
    assert len(set.union(*soft)) < 0.9 * sum(map(len, soft))


@pytest.mark.slow
def test_an_event_alone_is_made_of_different_collisions() -> None:
    (events,) = collisions.make("minimum bias", n_events=1, seed=1)
    momenta = ak.to_numpy(events.pt[0])
    assert len(momenta) > 500  # of some 31 collisions
    assert len(np.unique(momenta)) > 0.7 * len(momenta)  # of one collision again and again: 0.03


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="unknown kind of sample 'l1_object'; choose one of: l1_objects"),
        executors.open("serial") as pool,
    ):
        production.generate(10, tmp_path / "x.root", kind="l1_object", executor=pool)
