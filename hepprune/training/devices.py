"""Where networks train and are scored: the processor, or a GPU by CUDA.

Networks and jets live on the processor. What trains or scores takes copies of them to the device, and between epochs
brings the network back to whatever prunes it. Work in other processes stays on their processor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from hepprune.errors import ExecutorError, PrerequisiteError, check_known

CHOICES = ("auto", "cpu", "cuda")
CPU = torch.device("cpu")
_asked: ContextVar[torch.device | None] = ContextVar("device", default=None)


def current() -> torch.device:
    """Return the device on which the block that is running trains and scores."""
    return _asked.get() or CPU


@contextmanager
def on(name: str | None, *, unless_asked: bool = False) -> Iterator[None]:
    """Train and score on a device in the block: "cpu", "cuda", or "auto", which is CUDA where there is a GPU for it.

    None changes nothing, nor does another name inside a block of one that was asked for, if it is told so.

    Raises:
        ExecutorError: the name is none of a device.
        PrerequisiteError: torch finds no GPU.
    """
    if name is None or (unless_asked and _asked.get() is not None):
        yield
        return
    check_known("device", name, CHOICES, ExecutorError)
    found = torch.cuda.is_available() if name != "cpu" else False
    if name == "cuda" and not found:
        raise PrerequisiteError("the device 'cuda' is a GPU and torch finds none here; 'auto' takes one where there is")
    token = _asked.set(torch.device("cuda") if found else CPU)
    try:
        yield
    finally:
        _asked.reset(token)
