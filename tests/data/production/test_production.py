"""Production: the same jets whatever the workers and however often it was killed, and refusals in one sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from hepprune import executors
from hepprune.data import production
from hepprune.data.files import root
from hepprune.data.production import pythia
from hepprune.errors import DataError, ExecutorError, ToolMissingError

pytestmark = pytest.mark.xdist_group("production")
N_JETS, SEED = 6, 11
JETS = Path(__file__).parents[3] / "datasets" / "jets_constituents.root"
CHILD = """
from pathlib import Path
from hepprune import executors
from hepprune.data import production
if __name__ == "__main__":
    production.JETS_PER_SHARD = 1
    with executors.open("processes:1") as pool:
        production.generate({n_jets}, Path({out!r}), seed={seed}, executor=pool)
"""


def rows(path: Path) -> list[dict[str, Any]]:
    with uproot.open(f"{path}:Jets") as tree:
        return list(tree.arrays(library="ak").to_list())


class Refuses(Executor):
    """Refuses all work: for productions that must not make any."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:  # type: ignore[override]
        raise AssertionError("nothing was to be made")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "JETS_PER_SHARD", 1)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("jets") / "jets.root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(production, "JETS_PER_SHARD", 1)
        made: list[int] = []
        with executors.open("processes:2") as pool:
            production.generate(N_JETS, out, seed=SEED, executor=pool, advance=made.append)
    assert made == [1] * N_JETS
    assert not list(out.parent.glob("*.parts"))
    return rows(out)


@given(n_jets=st.integers(5, 20_000), per_shard=st.integers(1, 3000))
def test_a_plan_holds_exactly_the_jets_asked_for_in_balanced_classes(n_jets: int, per_shard: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(production, "JETS_PER_SHARD", per_shard)
        shards = production.plan(n_jets, seed=1)
    per_class = [sum(shard.n_jets for shard in shards if shard.label == label) for label in range(5)]
    assert sum(per_class) == n_jets
    assert max(per_class) - min(per_class) <= 1
    assert len({shard.number for shard in shards}) == len(shards)
    assert all(1 <= shard.n_jets <= per_shard for shard in shards)


@given(few=st.integers(5, 300), more=st.integers(0, 300))
def test_a_larger_plan_begins_with_the_jets_of_a_smaller_one(few: int, more: int) -> None:
    sizes = {shard.number: shard.n_jets for shard in production.plan(few + more, seed=1)}
    assert all(sizes[shard.number] >= shard.n_jets for shard in production.plan(few, seed=1))


@pytest.mark.slow
def test_a_sample_holds_all_classes_and_distinct_events(uninterrupted: list[dict[str, Any]]) -> None:
    assert len(uninterrupted) == N_JETS
    assert np.bincount([row["label"] for row in uninterrupted]).tolist() == [2, 1, 1, 1, 1]
    assert len({row["event"] for row in uninterrupted}) == N_JETS  # one jet per shard, so one per event
    assert all(row["nconstituent"] == len(row["constituent_pt"]) for row in uninterrupted)


@pytest.mark.slow
def test_the_number_of_workers_and_a_kill_change_nothing(uninterrupted: list[dict[str, Any]], tmp_path: Path) -> None:
    """One worker, killed without warning after some shards and started again, makes what two made in one go."""
    out = tmp_path / "jets.root"
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(n_jets=N_JETS, out=str(out), seed=SEED))
    child = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    parts = out.with_name("jets.root.parts")
    _wait(lambda: len(list(parts.glob("0*.npz"))) >= 2 or child.poll() is not None)
    workers = _children(child.pid)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert workers
    _wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert not out.exists()
    kept = len(list(parts.glob("0*.npz")))
    assert 2 <= kept < N_JETS

    made: list[int] = []
    with executors.open("processes:1") as pool:
        production.generate(N_JETS, out, seed=SEED, executor=pool, advance=made.append)
    assert made[0] == kept
    assert sum(made) == N_JETS
    assert rows(out) == uninterrupted
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["child.py", "jets.root"]


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_changes_nothing(
    uninterrupted: list[dict[str, Any]], dask_address: str, tmp_path: Path
) -> None:
    """A real cluster, whose first worker to finish a shard is killed while others are made: the same jets."""
    out, killed = tmp_path / "jets.root", list[int]()

    def kill_a_worker(_: int) -> None:
        if not killed:
            killed.append(next(pid for pid in _descendants(os.getpid()) if _is_dask_worker(pid)))
            os.kill(killed[0], signal.SIGKILL)

    with executors.open(f"dask:{dask_address}") as pool:
        production.generate(N_JETS, out, seed=SEED, executor=pool, advance=kill_a_worker)
    assert killed
    assert rows(out) == uninterrupted


@pytest.mark.slow
def test_a_smaller_sample_without_constituents_holds_some_of_the_same_jets(
    uninterrupted: list[dict[str, Any]], tmp_path: Path
) -> None:
    with executors.open("threads:1") as pool:
        out = production.generate(5, tmp_path / "jets.root", seed=SEED, executor=pool, constituents=False)
    expected = {row["event"]: {k: v for k, v in row.items() if "constituent" not in k} for row in uninterrupted}
    few = rows(out)
    assert few == [expected[row["event"]] for row in few]
    assert [row["label"] for row in sorted(few, key=lambda row: row["event"])] == [0, 1, 2, 3, 4]
    assert root.metadata(out)["n_constituents"] == 0


def test_parts_of_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    parts = tmp_path / "jets.root.parts"
    parts.mkdir()
    known = root.metadata(JETS)
    (parts / "settings.json").write_text(json.dumps(known | {"seed": 3, "n_jets": 10}))
    with pytest.raises(DataError, match=r"jets\.root\.parts' holds parts .* other settings \(seed\)"):
        production.generate(10, tmp_path / "jets.root", seed=4, executor=Refuses())


def test_a_file_of_older_settings_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    production.check_made(JETS, n_jets=10_000, seed=2)
    monkeypatch.setattr(pythia, "RADIUS", 0.4)
    with pytest.raises(DataError, match=r"jets_constituents\.root' was made with other settings \(jet\) than jets"):
        production.check_made(JETS, n_jets=10_000, seed=2)


@pytest.mark.parametrize(("n_jets", "seed", "message"), [(4, 1, "cannot make 4 jets"), (10, -1, "cannot seed Pythia")])
def test_impossible_orders_are_refused_before_anything_is_written(
    n_jets: int, seed: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        production.generate(n_jets, tmp_path / "jets.root", seed=seed, executor=Refuses())
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        production.generate(10, tmp_path / "file" / "jets.root", executor=Refuses())


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "find_spec", lambda name: None if name == "fastjet" else object())
    with pytest.raises(ToolMissingError, match=r"fastjet: pip install 'hepprune\[jets\]'"):
        production.generate(10, tmp_path / "jets.root", executor=Refuses())


@pytest.mark.slow
def test_a_killed_worker_ends_in_one_sentence(tmp_path: Path) -> None:
    with executors.open("processes:1") as pool:

        def kill_worker(_: int) -> None:
            for pid in _children(os.getpid()):
                if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)

        with pytest.raises(ExecutorError, match="a worker was killed .* finished jets wait"):
            production.generate(N_JETS, tmp_path / "jets.root", seed=SEED, executor=pool, advance=kill_worker)
    assert list(tmp_path.glob("jets.root.parts/0*.npz"))


def _wait(condition: Any, *, limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def _descendants(pid: int) -> list[int]:
    children = _children(pid)
    return [*children, *(each for child in children for each in _descendants(child))]


def _is_dask_worker(pid: int) -> bool:
    return (
        "Dask Worker process" in Path(f"/proc/{pid}/cmdline").read_text()
        or "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    )
