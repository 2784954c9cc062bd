"""Ctrl-C: held back over short pieces of work, a wish where a solver can stop, never deaf where compiled code builds.

SIGTERM counts as Ctrl-C where the program took it so, as the command line does.
"""

from __future__ import annotations

import contextvars
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
TICK, GRACE = 0.2, 10.0  # seconds between two looks, and from a wish to stop to giving up


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Put a handler in the place of those that raise KeyboardInterrupt, in the main thread; a caller's own stay."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in SIGNALS if signal.getsignal(number) is signal.default_int_handler]
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends, and raise KeyboardInterrupt then.

    A file is written whole before the program ends. And CasADi runs Python code while it converts the arguments of a
    call, and where Ctrl-C arrives there it reports arguments of the wrong type instead.
    """
    came: list[int] = []
    with _handling(lambda number, frame: came.append(number)):
        yield
    if came:
        raise KeyboardInterrupt


class Interrupt:
    """Whether somebody pressed Ctrl-C: whoever evaluates or watches on a solver's behalf looks here.

    Attributes
    ----------
    raised : bool
    until : float
        When whoever waits gives up, in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.raised, self.until = False, math.inf

    def reset(self) -> None:
        """Forget an earlier one."""
        self.raised, self.until = False, math.inf

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Take Ctrl-C as the wish to stop soon; a second one is raised as usual."""

        def note(number: int, frame: FrameType | None) -> Any:
            if self.raised:
                raise KeyboardInterrupt
            self.raised, self.until = True, time.monotonic() + GRACE

        with _handling(note):
            yield


def interruptible(work: Callable[[], Result], wish: Interrupt | None = None) -> Result:
    """Return `work()`, compiled code that does not look for Ctrl-C; here it raises KeyboardInterrupt all the same.

    The work runs in a thread while this one waits; CasADi lets go of Python's lock as it builds and solves. What was
    given up runs to its end unheard, and does not hold the program's end up. A `wish` is what the work heeds when it
    can: then it has `GRACE` seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    context, outcome = contextvars.copy_context(), _Outcome[Result]()
    _do(lambda: context.run(outcome.of, work))
    try:
        while not outcome.ended.wait(None if wish is None else TICK):
            if wish is not None and time.monotonic() > wish.until:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        _GIVEN_UP.append(outcome)
        raise
    return outcome.get()


def _do(work: Callable[[], Any]) -> None:
    """Carry work out in a thread that is idle, the last to become so, or in a new one.

    None of them ever ends: a solver goes on writing to a stream that CasADi keeps with the thread that built it.
    """
    if not _IDLE:
        jobs: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        threading.Thread(target=_serve, args=(jobs,), name="actionopt", daemon=True).start()
    else:
        jobs = _IDLE.pop()
    jobs.put(work)


def _serve(jobs: SimpleQueue[Callable[[], Any]]) -> None:
    while True:
        jobs.get()()
        _IDLE.append(jobs)


def given_up() -> bool:
    """Whether work of `interruptible` that nobody waits for is still going on."""
    _GIVEN_UP[:] = [outcome for outcome in _GIVEN_UP if not outcome.ended.is_set()]
    return bool(_GIVEN_UP)


class _Outcome(Generic[Result]):
    """What a piece of work returned or raised in another thread."""

    def __init__(self) -> None:
        self.values: list[Result] = []
        self.error: BaseException | None = None
        self.ended = threading.Event()

    def of(self, work: Callable[[], Result]) -> None:
        try:
            self.values.append(work())
        except BaseException as error:  # raised where it is waited for
            self.error = error
        finally:
            self.ended.set()

    def get(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.values[0]


_GIVEN_UP: list[_Outcome[Any]] = []
_IDLE: list[SimpleQueue[Callable[[], Any]]] = []  # of the threads that wait for work
if hasattr(os, "register_at_fork"):  # which a child process does not have
    os.register_at_fork(after_in_child=_IDLE.clear)
    os.register_at_fork(after_in_child=_GIVEN_UP.clear)


def was_interrupted(result: Any) -> bool:
    """Whether Ctrl-C ended the computation of a result, which then holds what was reached."""
    return getattr(result, "status", None) == "interrupted"


def unless_interrupted(result: Result) -> Result:
    """Return the result, or raise KeyboardInterrupt where Ctrl-C ended its computation."""
    if was_interrupted(result):
        raise KeyboardInterrupt
    return result
