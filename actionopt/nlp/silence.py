"""Keeping what a solver prints in spite of its options off standard output, in the thread that runs it alone."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

_LOCK = threading.Lock()
_silent: dict[int, int] = {}  # how often each thread has asked for silence


class _Filter:
    """Standard output but for the threads that asked for silence; everything else is the original's."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        if threading.get_ident() in _silent:
            return len(text)
        return int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def silenced(quiet: bool) -> Iterator[None]:
    """Drop what this thread writes to `sys.stdout`; other threads, and Python's own stream afterwards, are as before.

    `contextlib.redirect_stdout` would swap the stream of the whole process: of two threads that end in the other order
    than they began, the second leaves the first one's buffer behind.
    """
    if not quiet:
        yield
        return
    thread = threading.get_ident()
    _enter(thread)
    try:
        yield
    finally:
        _leave(thread)


def _enter(thread: int) -> None:
    with _LOCK:
        _silent[thread] = _silent.get(thread, 0) + 1
        if not isinstance(sys.stdout, _Filter) and sys.stdout is not None:
            sys.stdout = _Filter(sys.stdout)


def _leave(thread: int) -> None:
    with _LOCK:
        _silent[thread] -= 1
        if not _silent[thread]:
            del _silent[thread]
        # a stream that somebody else put in its place meanwhile is theirs
        if not _silent and isinstance(sys.stdout, _Filter):
            sys.stdout = sys.stdout.stream
