"""Watching a CasADi solver at work: progress after each iteration, and Ctrl-C that keeps the last iterate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import casadi as ca

from actionopt.interrupts import Interrupt

WATCHABLE = ("ipopt", "sqpmethod", "feasiblesqpmethod")  # plugins that call back after each iteration


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
