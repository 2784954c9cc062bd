"""A limit of time that holds, whichever plugin runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np

from actionopt.errors import InputError
from actionopt.interrupts import Interrupt
from actionopt.nlp.derivatives import HUGE, Program

Watch = Callable[[np.ndarray], bool]
CALLS_BACK = ("sqpmethod", "feasiblesqpmethod")  # these have no option for time, either
OWN_OPTION: dict[str, str] = {"ipopt": "max_wall_time", "uno": "time_limit"}
WATCHED = ("ipopt", *CALLS_BACK)  # after each iteration, ready to be stopped
STOPPABLE = ("fatrop", *WATCHED)  # whenever somebody wants
LATE = 2.0  # seconds after its time is over at which a plugin is waited for no longer: it may be in an endless loop
LIMITED = ("fatrop", *CALLS_BACK, *OWN_OPTION)


class Deadline:
    """When a solve has to stop; set anew by `start`.

    Parameters
    ----------
    seconds : float or None
    interrupt : Interrupt, optional
        Whether somebody wants it to stop earlier.
    watch : callable, optional
        Gets the unknowns after every iteration, and ends the solve where it returns True.

    Attributes
    ----------
    passed : bool
        Whether the time is over.
    seen : dict
        The last point that a plugin showed before it was to stop: `x` and, after an iteration, `lam_x` and `lam_g`.
    """

    def __init__(self, seconds: float | None, interrupt: Interrupt | None = None, watch: Watch | None = None) -> None:
        self.seconds, self.interrupt, self.watch = seconds, interrupt, watch
        self.end = float("inf")
        self.ended = False  # by the watch
        self.seen: dict[str, Any] = {}

    @property
    def over(self) -> bool:
        """Whether to stop, for any reason."""
        return self.passed or self.ended or (self.interrupt is not None and self.interrupt.raised)

    def look(self, x: ca.DM) -> None:
        """Show the watch an iterate."""
        if self.watch is not None and not self.ended:
            self.seen = {**self.seen, "x": x}
            self.ended = bool(self.watch(x.full().reshape(-1)))

    def start(self) -> None:
        self.seen, self.ended = {}, False
        self.end = float("inf") if self.seconds is None else time.perf_counter() + self.seconds

    @property
    def passed(self) -> bool:
        return time.perf_counter() > self.end

    @property
    def latest(self) -> float:
        """When whoever waits gives up a plugin that heeds no limit, in seconds of the monotonic clock."""
        return time.monotonic() + self.end - time.perf_counter() + LATE

    @property
    def missed(self) -> bool:
        """Whether a plugin should have ended long ago."""
        return time.perf_counter() > self.end + 0.9 * LATE


def deadline_options(
    solver: str, program: Program, cache: dict[str, ca.Function], deadline: Deadline
) -> dict[str, Any]:
    """Return the options that stop a plugin at the deadline; fatrop, which offers none, is told of no descent.

    Raises
    ------
    InputError
        If there is a limit and the plugin has no way to keep it.
    """
    if deadline.seconds is None and deadline.interrupt is None and deadline.watch is None:
        return {}
    chosen: dict[str, Any] = {}
    if solver in OWN_OPTION and deadline.seconds is not None:
        chosen[solver] = {OWN_OPTION[solver]: float(deadline.seconds)}
    asked = deadline.interrupt is not None or deadline.watch is not None
    if solver in CALLS_BACK or (solver in WATCHED and asked):
        chosen["iteration_callback"] = _AfterIteration(program.x.numel(), program.g.numel(), deadline)
    if chosen:
        return chosen
    if solver == "fatrop":
        cache["nlp_f"] = _Objective(cache["nlp_f"], deadline)
        if deadline.watch is not None:
            cache["nlp_grad_f"] = _Gradient(cache["nlp_grad_f"], deadline)
        return {}
    if deadline.seconds is None:
        return {}
    raise InputError(f"solver {solver!r} cannot be stopped by time: leave time_limit out, or take {', '.join(LIMITED)}")


class _AfterIteration(ca.Callback):
    """CasADi's iteration callback: whether to stop."""

    def __init__(self, variables: int, constraints: int, deadline: Deadline) -> None:
        ca.Callback.__init__(self)
        sizes = {"x": variables, "f": 1, "g": constraints, "lam_x": variables, "lam_g": constraints, "lam_p": 0}
        self.sizes = [sizes[name] for name in ca.nlpsol_out()]
        self.deadline = deadline
        self.construct("deadline", {})

    def get_n_in(self) -> int:
        return len(self.sizes)

    def get_n_out(self) -> int:
        return 1

    def get_sparsity_in(self, i: int) -> ca.Sparsity:
        return ca.Sparsity.dense(self.sizes[i])

    def eval(self, arg: Sequence[ca.DM]) -> list[int]:
        self.deadline.seen = dict(zip(ca.nlpsol_out(), arg, strict=True))
        self.deadline.look(arg[0])
        return [int(self.deadline.over)]


class _Function(ca.Callback):
    """A function of a program, evaluated from Python."""

    def __init__(self, function: ca.Function, deadline: Deadline) -> None:
        ca.Callback.__init__(self)
        self.function, self.deadline = function, deadline
        self.construct(function.name(), {})

    def get_n_in(self) -> int:
        return int(self.function.n_in())

    def get_n_out(self) -> int:
        return int(self.function.n_out())

    def get_name_in(self, i: int) -> str:
        return str(self.function.name_in(i))

    def get_name_out(self, i: int) -> str:
        return str(self.function.name_out(i))

    def get_sparsity_in(self, i: int) -> ca.Sparsity:
        return self.function.sparsity_in(i)

    def get_sparsity_out(self, i: int) -> ca.Sparsity:
        return self.function.sparsity_out(i)


class _Objective(_Function):
    """The objective, huge once the time is over: no step descends any more, and the search ends."""

    def eval(self, arg: Sequence[ca.DM]) -> list[Any]:
        if self.deadline.ended:  # sooner than by a huge one, and what it does from here on is not looked at
            return [np.nan]
        if self.deadline.over:
            return [HUGE]
        self.deadline.seen = {"x": arg[0]}
        return [self.function(*arg)]


class _Gradient(_Function):
    """The gradient, which fatrop asks for once an iteration."""

    def eval(self, arg: Sequence[ca.DM]) -> list[Any]:
        self.deadline.look(arg[0])
        return [self.function(*arg)]
