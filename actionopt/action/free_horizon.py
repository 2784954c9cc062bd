"""Paths whose horizon is free between bounds: time stretched to the unit interval, its length one more unknown.

With `t = T s`, `S = int_0^1 T l(w, w_s / T, T s) ds` over (w, T), T a coordinate that does not change. At a stationary
T inside its bounds the Hamiltonian of an l without time is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from actionopt.action.formulas import point_formula_of, stage_formula_of
from actionopt.action.guess import first_guess
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.task import make_task
from actionopt.action.trajectory import Trajectory
from actionopt.errors import InputError
from actionopt.ops import Ops
from actionopt.ops.base import Array

STARTS = (0.5, 0.2, 0.8)  # where between the bounds, in logarithms, horizons begin
AT_BOUND = 1e-6  # distance of a horizon from a bound, relative to it, at which it counts as held there
POINT_FORMULAS = ("start_constraint", "end_constraint")


class Stretched(Lagrangian):
    """A Lagrangian on the unit interval, with the horizon T as its last coordinate."""

    def __init__(
        self,
        what: Lagrangian,
        bounds: tuple[Any, Any] | None,
        constraint: Callable[..., Any] | None,
        horizons: tuple[float, float],
    ) -> None:
        self.what = what
        n = what.size
        bounds = what.bounds if bounds is None else bounds
        low, high = (-np.inf, np.inf) if bounds is None else bounds
        lower, upper = (
            np.append(np.broadcast_to(np.asarray(b, dtype=float), (n,)), t)
            for b, t in zip((low, high), horizons, strict=True)
        )
        constraint = what.constraint if constraint is None else constraint
        super().__init__(
            n + 1,
            self._stretched,
            bounds=(lower, upper),
            equality=self._equalities,
            constraint=None if constraint is None else self._along(stage_formula_of("constraint", constraint)),
            end_cost=None if what.end_cost is None else self.of_position(what.end_cost),
            name=what.name,
        )
        self._equality = None if what.equality is None else stage_formula_of("equality", what.equality)

    def of_position(self, formula: Callable[..., Any]) -> Callable[..., Any]:
        """Return a formula (ops, w) as one of (w, T)."""
        return lambda ops, x: formula(ops, ops.split(x, [self.what.size, 1])[0])

    def _stretched(self, ops: Ops, x: Array, v: Array, s: Array) -> Array:
        horizon = ops.split(x, [self.what.size, 1])[1]
        return ops.sum(horizon) * self._along(self.what.value)(ops, x, v, s)

    def _equalities(self, ops: Ops, x: Array, v: Array, s: Array) -> Array:
        still = ops.split(v, [self.what.size, 1])[1]
        if self._equality is None:
            return still
        return ops.concatenate([self._along(self._equality)(ops, x, v, s), still])

    def _along(self, formula: Callable[..., Any]) -> Callable[..., Any]:
        """Return a formula (ops, w, v, t) as one of the stretched coordinates."""

        def stretched(ops: Ops, x: Array, v: Array, s: Array) -> Array:
            w, horizon = ops.split(x, [self.what.size, 1])
            return formula(ops, w, ops.split(v, [self.what.size, 1])[0] / horizon, horizon * s)

        return stretched


def is_free(horizon: Any) -> TypeGuard[Sequence[float]]:
    """Whether a horizon is given as bounds."""
    return isinstance(horizon, (tuple, list)) or (isinstance(horizon, np.ndarray) and horizon.ndim == 1)


def over_horizons(
    solve: Callable[..., Trajectory],
    what: Any,
    start: Any,
    end: Any,
    *,
    horizon: Sequence[float],
    steps: int,
    guess: Any,
    options: dict[str, Any],
) -> Trajectory:
    """Find the path and the horizon between bounds; `solve` is `minimize_action`, for one horizon."""
    low, high = _checked(what, horizon, options)
    stretched = Stretched(what, options["bounds"], options["constraint"], (low, high))
    pinned = {
        name: stretched.of_position(point_formula_of(name, options[name]))
        for name in POINT_FORMULAS
        if options[name] is not None
    }
    replaced = {"bounds": None, "constraint": None, "throw": False, "second_order": False, **pinned}
    found: list[Trajectory] = []
    for share in STARTS if guess is None else STARTS[:1]:
        first = low ** (1 - share) * high**share
        path = _first_path(what, start, end, first, steps, guess, options)
        ends = [
            None if e is None else np.append(np.atleast_1d(np.asarray(e, dtype=float)), np.nan) for e in (start, end)
        ]
        begun = np.column_stack([path, np.full(len(path), first)])
        found.append(solve(stretched, *ends, horizon=1.0, steps=steps, guess=begun, **(options | replaced)))
    least = min(found, key=lambda path: (not path.success, path.action))
    length = float(least.points[:, -1].mean())
    times = np.linspace(0.0, length, steps + 1)
    fixed = {"escape": False, "throw": False}
    final = solve(what, start, end, times=times, guess=least.points[:, :-1], **(options | fixed))
    return _described(final, least, length, (low, high))


def _first_path(
    what: Lagrangian, start: Any, end: Any, horizon: float, steps: int, guess: Any, options: dict[str, Any]
) -> np.ndarray:
    """Return points `(K, n)` of the first path over a horizon."""
    scheme = make_scheme(options["scheme"], make_grid(horizon, steps))
    ends = {name: options[name] for name in POINT_FORMULAS}
    task = make_task(what, start, end, scheme, options["bounds"], options["constraint"], options["metric"], **ends)
    return first_guess(task, guess)


def _described(final: Trajectory, free: Trajectory, horizon: float, bounds: tuple[float, float]) -> Trajectory:
    """Say what came of the horizon."""
    low, high = bounds
    held = {low: "least", high: "greatest"}
    at = next((word for bound, word in held.items() if abs(horizon - bound) <= AT_BOUND * bound), None)
    stats = final.stats | {
        "horizon": horizon,
        "horizon_bounds": [low, high],
        "horizon_held": at,
        "horizon_iterations": free.stats["iterations"],
    }
    note = f"; the horizon is {horizon:.6g}"
    note += f", the {at} allowed: the action falls beyond it" if at else ", where the action is stationary"
    if not free.success:
        message = f"the horizon was not found ({free.status}: {free.message})"
        return replace(final, success=False, status=free.status, message=message, stats=stats)
    return replace(final, message=final.message + note, stats=stats)


def _checked(what: Any, horizon: Any, options: dict[str, Any]) -> tuple[float, float]:
    if not isinstance(what, Lagrangian):
        raise InputError(
            f"a free horizon needs a Lagrangian, got {type(what).__name__}: the path of a problem's flow whatever the "
            "horizon is what least_action_path finds"
        )
    values = list(horizon)
    sound = len(values) == 2 and all(not isinstance(t, bool) and isinstance(t, (Real, np.number)) for t in values)
    if not sound or not 0.0 < float(values[0]) < float(values[1]) < np.inf:
        raise InputError(f"horizon must be a positive number, or bounds 0 < shortest < longest, got {horizon!r}")
    if options["solver"] == "newton":
        raise InputError('a free horizon is one more unknown under an equality: use solver="ipopt" or "fatrop"')
    return float(values[0]), float(values[1])
