"""Work on a real Dask cluster of processes, one of which is killed while it works: the same results, nothing lost."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Executor

import pytest

from hepprune import executors
from hepprune.errors import ExecutorError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("production")]


@pytest.fixture
def executor(dask_address: str) -> Iterator[Executor]:
    with executors.open(f"dask:{dask_address}") as opened:
        yield opened


def slow_square(n: int) -> tuple[int, int]:
    """Return the worker's process and the square."""
    time.sleep(0.1)
    return os.getpid(), n * n


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(n: int) -> int:
    raise ValueError(f"not {n}")


def test_a_killed_worker_loses_nothing(executor: Executor) -> None:
    """The first worker that tells a result is killed; all 20 squares come, in order, and its work was done by another."""
    workers: list[int] = []
    squares: dict[int, int] = {}
    for n, (pid, square) in executors.completed(executor, slow_square, range(20)):
        if not workers:
            os.kill(pid, signal.SIGKILL)
        workers.append(pid)
        squares[n] = square
    assert squares == {n: n * n for n in range(20)}
    assert len(set(workers)) >= 2


def test_errors_come_back_and_hopeless_work_ends(executor: Executor) -> None:
    with pytest.raises(ValueError, match="not 3"):
        executors.gather(executor, refuse, [3])
    with pytest.raises(ExecutorError, match="every worker that took this work died"):
        executors.gather(executor, die, [0])
    assert executors.gather(executor, slow_square, [7])[0][1] == 49


def test_an_address_where_nothing_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "CONNECT_S", 0.5)
    with pytest.raises(ExecutorError, match="no Dask scheduler answers at"), executors.open("dask:tcp://127.0.0.1:9"):
        pass
