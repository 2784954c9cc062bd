"""Watching a CasADi solver at work: progress after each iteration, and Ctrl-C that keeps the last iterate."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import casadi as ca

WATCHABLE = ("ipopt", "sqpmethod", "feasiblesqpmethod")  # plugins that call back after each iteration


class Interrupt:
    """Whether somebody pressed Ctrl-C: whoever evaluates or watches on a solver's behalf looks here.

    Attributes
    ----------
    raised : bool
    """

    def __init__(self) -> None:
        self.raised = False

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Take Ctrl-C as the wish to stop soon; a second one is raised as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> Any:
            if self.raised:
                raise KeyboardInterrupt
            self.raised = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class Watch(ca.Callback):
    """CasADi's iteration callback: reports, and asks the solver to stop after Ctrl-C.

    Parameters
    ----------
    variables, constraints : int
        Sizes of the program.
    interrupt : Interrupt
    tick : callable
        Called after each iteration with a short note.
    scale : float
        What the program's action is divided by.
    """

    def __init__(
        self, variables: int, constraints: int, interrupt: Interrupt, tick: Callable[..., None], scale: float
    ) -> None:
        ca.Callback.__init__(self)
        sizes = {"x": variables, "f": 1, "g": constraints, "lam_x": variables, "lam_g": constraints, "lam_p": 0}
        self.sizes = [sizes[name] for name in ca.nlpsol_out()]
        self.interrupt = interrupt
        self.tick = tick
        self.scale = scale
        self.construct("watch", {})

    def get_n_in(self) -> int:
        return len(self.sizes)

    def get_n_out(self) -> int:
        return 1

    def get_sparsity_in(self, i: int) -> ca.Sparsity:
        return ca.Sparsity.dense(self.sizes[i])

    def eval(self, arg: Sequence[ca.DM]) -> list[int]:
        self.tick(f"S = {self.scale * float(arg[ca.nlpsol_out().index('f')]):.6g}")
        return [int(self.interrupt.raised)]
