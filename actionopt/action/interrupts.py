"""Ctrl-C that waits for the end of a short piece of work, and Ctrl-C that ended a longer one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends, and raise KeyboardInterrupt then.

    CasADi runs Python code while it converts the arguments of a call, and where Ctrl-C arrives there it reports
    arguments of the wrong type instead.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


def was_interrupted(result: Any) -> bool:
    """Whether Ctrl-C ended the computation of a result, which then holds what was reached."""
    return getattr(result, "status", None) == "interrupted"


def unless_interrupted(result: Result) -> Result:
    """Return the result, or raise KeyboardInterrupt where Ctrl-C ended its computation."""
    if was_interrupted(result):
        raise KeyboardInterrupt
    return result
