"""Executors: the same results in the same order wherever work runs, and one sentence when it cannot."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import cache, partial

import pytest
import torch

from hepprune import executors
from hepprune.errors import ExecutorError, PrerequisiteError

TOGETHER = pytest.mark.xdist_group("processes")  # which they share
LOCAL = ("serial", "threads:2", pytest.param("processes:2", marks=TOGETHER))


def square(n: int) -> int:
    return n * n


def refuse_three(n: int) -> int:
    if n == 3:
        raise ValueError("three")
    return n


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    """Two processes, which import torch once for all tests that need no others."""
    with executors.open("processes:2") as executor:
        yield executor


@pytest.mark.parametrize("spec", LOCAL)
def test_results_come_in_the_order_of_their_items(spec: str, request: pytest.FixtureRequest) -> None:
    reported: list[int] = []
    opened = nullcontext(request.getfixturevalue("processes")) if "processes" in spec else executors.open(spec)
    with opened as executor:
        assert executors.gather(executor, square, range(6), advance=reported.append) == [0, 1, 4, 9, 16, 25]
        assert dict(executors.completed(executor, square, range(6))) == {n: n * n for n in range(6)}
        with pytest.raises(ValueError, match="three"):
            executors.gather(executor, refuse_three, range(6))
        assert executor.submit(square, 7).result() == 49
        assert executors.gather(executor, square, []) == []
    assert reported == [1] * 6


def scaled(by: torch.Tensor, n: int) -> tuple[torch.Tensor, int]:
    return by * n, torch.get_num_threads()


@TOGETHER
def test_a_function_may_carry_tensors(processes: Executor) -> None:
    """As a network or a sample of jets."""
    by = torch.arange(1000.0)
    results = executors.gather(processes, partial(scaled, by), range(4))
    assert all(torch.equal(product, by * n) for n, (product, _) in enumerate(results))


@cache
def threads_of_torch(asked: str) -> int:
    """Return what torch takes by itself: one a core here, one for two that share their arithmetic, or what is asked."""
    variables = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    variables |= {"OMP_NUM_THREADS": asked} if asked else {}
    command = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    return int(subprocess.check_output(command, env=variables))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "asked"), [(1, "1"), (2, "")])
def test_a_process_takes_its_share_of_the_cores_and_no_more_than_it_may(
    n: int, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with executors.open(f"processes:{n}") as executor:
        results = executors.gather(executor, partial(scaled, torch.zeros(1)), range(2))
    bare = threads_of_torch(asked)
    share = max(len(os.sched_getaffinity(0)) // n, 1)
    assert {threads for _, threads in results} == {min(bare, share)}
    assert not asked or bare == int(asked)


def test_an_error_in_this_process_is_carried_by_its_future() -> None:
    with executors.open("serial") as executor:
        future = executor.submit(refuse_three, 3)
    with pytest.raises(ValueError, match="three"):
        future.result()


def test_a_killed_process_ends_in_one_sentence() -> None:
    with executors.open("processes:1") as executor, pytest.raises(ExecutorError, match="worker was killed or lost"):
        executors.gather(executor, die, range(2))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("proceses", "unknown executor 'proceses'; choose one of: processes, "),
        ("threads:0", "'0' is not a number of threads; expected 1 to 1024"),
        ("processes:9999", "'9999' is not a number of processes"),
        ("processes:two", "'two' is not a number"),
        ("serial:2", "nothing behind a colon"),
        ("dask:here", "'here' is not an address of a Dask scheduler"),
        ("dask:", "'' is not an address"),
    ],
)
def test_what_names_no_executor_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ExecutorError, match=message), executors.open(spec):
        pass


def test_without_dask_its_name_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'hepprune\[dask\]'"), executors.open("dask:tcp://h:1"):
        pass
