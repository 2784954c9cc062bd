"""Continuation: a long horizon is reached over shorter ones, each path the guess for the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from actionopt.action.lagrangian import Lagrangian
from actionopt.action.minimize import minimize_action
from actionopt.action.outcome import judged_or_interrupted
from actionopt.action.trajectory import Trajectory
from actionopt.action.verdict import CAUTIONS
from actionopt.errors import InputError, SolverError
from actionopt.problem import Problem


def continue_action(
    what: Problem | Lagrangian,
    start: Any,
    end: Any = None,
    *,
    horizons: Sequence[float],
    steps: int | Sequence[int] = 100,
    guess: Any = None,
    throw: bool = True,
    **options: Any,
) -> list[Trajectory]:
    """Minimise the action for one horizon after the other.

    Over a long horizon the action hardly depends on *when* a path leaves a critical point, and a solver creeps along
    that valley: from a straight line, a path of the Mueller-Brown potential took 500 to 1000 Newton steps that took
    150 in all over five horizons. The last path, stretched in time, starts the next.

    Parameters
    ----------
    what, start, end
        As for `minimize_action`.
    horizons : sequence of float
        One after the other; usually increasing. Equal ones with more steps refine the grid.
    steps : int or sequence of int
        Number of steps, for all or for each horizon.
    guess : optional
        For the first horizon, as for `minimize_action`.
    throw : bool
        Raise if the solver stops early at the last horizon; earlier ones need not converge.
    **options
        For `minimize_action`: scheme, solver, metric, tol, ...

    Returns
    -------
    list of Trajectory
        One a horizon; shorter where Ctrl-C interrupted one, which then is the last.

    Raises
    ------
    InputError
        For input that cannot be used.
    SolverError
        If the last path is not stationary; its `result` is that path.

    Examples
    --------
    >>> well = ao.Drift(1, lambda ops, x: x - x**3)
    >>> paths = ao.continue_action(well, [-1.0], [0.0], horizons=(2.0, 4.0), steps=40, throw=False)
    >>> bool(paths[1].action < paths[0].action)
    True
    """
    if "times" in options or "horizon" in options:
        raise InputError("continue_action takes horizons= and steps=, not times= or horizon=")
    horizons = [float(horizon) for horizon in np.atleast_1d(horizons)]
    counts: list[Any] = [steps] * len(horizons) if np.ndim(steps) == 0 else list(cast(Sequence[int], steps))
    if not horizons or len(counts) != len(horizons):
        raise InputError(f"expected one number of steps, or one for each horizon; got {counts} for {horizons}")
    if len(horizons) > 1:
        options.setdefault("escape", False)  # the horizons are the user's way, and the first of them are short
    paths: list[Trajectory] = []
    for horizon, count in zip(horizons, counts, strict=True):
        start_from = paths[-1] if paths else guess
        found = minimize_action(
            what, start, end, horizon=horizon, steps=count, guess=start_from, throw=False, **options
        )
        paths.append(judged_or_interrupted(found))
        if paths[-1].status == "interrupted":
            break
    if throw and not paths[-1].success and paths[-1].status not in CAUTIONS:
        raise SolverError(paths[-1].message, paths[-1])
    return paths
