"""Where work that fans out runs: in this process, in threads, in processes, or on a Dask cluster.

Each is an executor of `concurrent.futures`, so code that fans out takes one and does not know which it is.
"""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from hepprune.errors import ExecutorError, PrerequisiteError, check_known, explained, said

T = TypeVar("T")
P = ParamSpec("P")
Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_WORKERS = 1024
CONNECT_S = 30.0
_LEAVE_S = 2.0  # for work that is given up to end the programs that it runs


class Serial(Executor):
    """Runs each call where and when it is submitted: for one core, and to see an error where it happens."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call, and return a future that holds its outcome already."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as problem:  # noqa: BLE001 - the future carries whatever it was to who asks for the result
            future.set_exception(problem)
        return future


@contextmanager
def open(spec: str = "processes") -> Iterator[Executor]:  # noqa: A001 - as in gzip.open
    """Yield the executor that a text names: `serial`, `threads:4`, `processes:4`, or `dask:tcp://host:8786`.

    Threads and processes are one for each core where no number is given. When the block ends, work that was not begun
    is given up, and work that is running is waited for; after Ctrl-C, processes give that up too, with its programs.

    Raises:
        ExecutorError: the text names none, or nothing answers at the address.
        PrerequisiteError: Dask is not installed.
    """
    kind, _, argument = spec.partition(":")
    check_known("executor", kind, EXECUTORS, ExecutorError)
    with EXECUTORS[kind](argument) as executor:
        yield executor


def completed(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with what the function returns for it, as they finish; after an error no more is begun.

    Raises:
        ExecutorError: a worker was lost and its work could not be given to another.
    """
    known = list(items)
    for place, result in _finished(executor, function, known):
        yield known[place], result


def gather(
    executor: Executor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Result]:
    """Return what the function returns for each item, in their order; `advance(1)` is called as each one finishes.

    Raises:
        ExecutorError: a worker was lost and its work could not be given to another.
    """
    results: dict[int, Result] = {}
    for place, result in _finished(executor, function, items):
        results[place] = result
        advance(1)
    return [results[place] for place in range(len(results))]


def _finished(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[int, Result]]:
    """Yield (place among the items, result) as they finish; in this process one by one, so each is told at once."""
    if isinstance(executor, Serial):
        yield from ((place, function(item)) for place, item in enumerate(items))
        return
    near = isinstance(executor, ThreadPoolExecutor)
    task: Callable[[Any], Any] = function if near else _Shipped(function)
    futures: dict[Future[Any], int] = {}
    for place, item in enumerate(items):  # a thread sees what the context here holds, such as the device
        run = executor.submit(copy_context().run, task, item) if near else executor.submit(task, pickle.dumps(item))
        futures[run] = place
    try:
        for future in as_completed(futures):
            result = _result(future)
            yield futures[future], result if near else _unpickled(result)
    finally:
        for future in futures:
            future.cancel()


class _Shipped:
    """A function pickled once here and unpickled once in each worker, whatever it carries (a network, a sample).

    Pickles are plain, those of items and results too: multiprocessing's own would put tensors into shared memory,
    which no other machine sees, and which ends with the worker.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._content = pickle.dumps(function)

    def __call__(self, item: bytes) -> bytes:
        try:
            return pickle.dumps(_function(self._content)(_unpickled(item)))
        except SystemExit:  # from _leave: the pool would catch it and begin the next call
            os._exit(1)


@lru_cache(maxsize=1)
def _function(content: bytes) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = _unpickled(content)
    return function


def _unpickled(content: bytes) -> Any:
    return pickle.loads(content)  # noqa: S301 - what this process or its own workers have packed


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    except (BrokenExecutor, CancelledError) as problem:
        raise ExecutorError(f"a worker was killed or lost (is there memory enough?): {said(problem)}") from problem
    except Exception as problem:
        if type(problem).__name__ == "KilledWorker":  # of Dask, which is not imported here
            raise ExecutorError(f"every worker that took this work died: {said(problem)}") from problem
        raise


@contextmanager
def _serial(argument: str) -> Iterator[Executor]:
    if argument:
        raise ExecutorError(f"the executor serial takes nothing behind a colon, not '{argument}'")
    yield Serial()


@contextmanager
def _threads(argument: str) -> Iterator[Executor]:
    pool = ThreadPoolExecutor(_count(argument, "threads"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _processes(argument: str) -> Iterator[Executor]:
    # Spawned, not forked: the process that calls this may have threads (torch has).
    context = multiprocessing.get_context("spawn")
    n = _count(argument, "processes")
    threads = max(len(os.sched_getaffinity(0)) // n, 1)
    wanted, want = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(n, mp_context=context, initializer=_begin_worker, initargs=(threads, wanted))
    with wanted, want:
        try:
            yield pool
        except (KeyboardInterrupt, SystemExit):
            want.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    """Yield the executor of a Dask client; a worker that dies has its work given to another by the scheduler."""
    with explained(PrerequisiteError, "a Dask executor needs Dask: pip install 'hepprune[dask]'", ImportError):
        from distributed import Client

    if not re.fullmatch(r"(tcp|tls|ucx|inproc|wss?)://\S+", address):
        raise ExecutorError(f"'{address}' is not an address of a Dask scheduler; expected one such as tcp://host:8786")
    with explained(ExecutorError, f"no Dask scheduler answers at '{address}':", OSError, ValueError):
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    with client:
        executor = client.get_executor(pure=False)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


EXECUTORS = {"serial": _serial, "threads": _threads, "processes": _processes, "dask": _dask}


def _count(argument: str, kind: str) -> int:
    """Return the number of workers behind a colon, by default one for each core that this process may use."""
    if not argument:
        return len(os.sched_getaffinity(0))
    if not re.fullmatch(r"[1-9]\d{0,3}", argument) or int(argument) > MAX_WORKERS:
        raise ExecutorError(f"'{argument}' is not a number of {kind}; expected 1 to {MAX_WORKERS}, as in {kind}:4")
    return int(argument)


def _begin_worker(threads: int, wanted: Connection) -> None:
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))  # or each process would take every core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes its end of `wanted`
    signal.signal(signal.SIGTERM, _leave)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # standard output is the command's; FastJet prints its banner there
    threading.Thread(target=_end_unwanted, args=(wanted, threading.get_ident()), daemon=True).start()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Unwind what the worker is doing, so that it ends its programs; once, for a second time would cut that short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


def _end_unwanted(wanted: Connection, main: int) -> None:
    """End this worker when its parent gives it up, or is gone itself: without work it would wait for ever."""
    multiprocessing.connection.wait([wanted])  # nothing is ever sent: it is ready when the other end is closed
    signal.pthread_kill(main, signal.SIGTERM)  # os.kill may choose this thread, and that one would sleep on
    time.sleep(_LEAVE_S)
    os._exit(1)  # it is in a library that does not return to Python
