"""Quasipotentials: the least action from an attractor to many points."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.errors import InputError
from actionopt.paths.guesses import Guess, grid_ways, instanton, line, strings
from actionopt.paths.least_action import check_counts, check_drift, check_numbers, make_result
from actionopt.paths.result import GeometricPath
from actionopt.paths.search import Ends, make_ends, passing_by, search
from actionopt.paths.system import System, make_flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOXES = (1.0, 2.0)


@dataclass(frozen=True, eq=False, repr=False)
class Quasipotential:
    """The least action from an attractor to points.

    Attributes
    ----------
    name : str
        Of the system.
    attractor : array (n,)
    points : array (m, n)
    values : array (m,)
        NaN where no path was found or the least one does not converge; `messages` says why.
    errors : array (m,)
        Estimated errors of the values, as `GeometricPath.action_error`: of the paths that were found, which may be held
        on a saddle that they only pass near (docs/paths.md).
    paths : list of GeometricPath or None
        None at the attractor itself and where nothing was found.
    messages : dict
        By number of the point, where a value is missing.

    Examples
    --------
    >>> well = ao.Drift(1, lambda ops, x: -x)
    >>> found = ao.quasipotential(well, [0.0], [[1.0], [2.0]])
    >>> [round(float(value), 4) for value in found.values]
    [1.0, 4.0]
    """

    name: str
    attractor: np.ndarray
    points: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    paths: list[GeometricPath | None]
    messages: dict[int, str]

    def plot(self, ax: Axes | None = None, *, paths: int = 12, labels: Sequence[str] | None = None) -> Axes:
        """Draw levels, some of the paths and the attractor in the plane, into `ax` or a new figure.

        Raises
        ------
        InputError
            If the points are not in the plane, or fewer than three have values.
        """
        from actionopt.paths.draw_quasipotential import draw_quasipotential

        return draw_quasipotential(self, ax, paths=paths, labels=labels)

    def __repr__(self) -> str:
        missing = f", {len(self.messages)} without a value" if self.messages else ""
        largest = np.nanmax(self.values, initial=0.0)
        return f"Quasipotential({self.name!r}: {len(self.points)} points up to {largest:.6g}{missing})"


def quasipotential(
    what: Any,
    attractor: Any,
    points: Any,
    *,
    elements: Sequence[int] = (25, 50),
    starts: int = 4,
    metric: str = "layerwise",
    tol: float = 1e-9,
    seed: int = 0,
    executor: Any = None,
) -> Quasipotential:
    """Compute the quasipotential `V(y)`, the least action from an attractor to each point y over all horizons.

    At small noise eps the invariant density is about `exp(-V / eps)` in the basin and beyond, as far as one attractor
    reaches. For a gradient flow it is `2 (E(y) - E(attractor))` where a path uphill leads there.

    Parameters
    ----------
    what, elements, starts, metric, tol, seed
        As for `least_action_path`.
    attractor : array (n,)
        A stable critical point, or a point of a limit cycle.
    points : array (m, n)
        Every point is searched on its own, from the line, the linear instanton and the cheapest way over one grid for
        all (in the plane) or strings: a neighbour's path alone may lead to another minimum.
    executor : concurrent.futures.Executor, optional
        Maps over the points; processes need a system that can be pickled.

    Returns
    -------
    Quasipotential
        A point that fails has the value NaN and a message; it is no exception.

    Raises
    ------
    InputError
        For input that cannot be used, and where the attractor attracts nothing.

    Examples
    --------
    >>> from actionopt import Drift
    >>> v = quasipotential(Drift(1, lambda ops, x: x - x**3), [-1.0], [[-1.5], [-0.5], [0.0]])
    >>> [round(float(value), 6) for value in v.values]
    [0.78125, 0.28125, 0.5]
    """
    flow = make_flow(what, metric)
    first = _points("attractor", np.atleast_1d(np.asarray(attractor, dtype=float))[None], flow.size)[0]
    targets = _points("points", points, flow.size)
    counts = check_counts(elements)
    check_numbers(tol, starts, seed)
    check_drift(flow, "attractor", first)
    system = System(flow, first)
    start, ends = system.inward(first), system.inward(targets)
    limit = make_ends(system, start, _farthest(start, ends)).limit
    if not (limit.at_once and limit.stable):
        raise InputError(
            f"{first} is no attractor: the flow from there ends in: {limit.kind}. Give a stable critical point, or a "
            "point on a limit cycle"
        )
    guesses = _guesses(system, Ends(start, start, limit), ends, starts, seed)
    work = partial(_one, what, system, limit, start, counts, tol)
    run = map if executor is None else executor.map
    found = list(run(work, list(zip(ends, guesses, strict=True))))
    return Quasipotential(
        flow.name,
        first,
        targets,
        np.array([value for value, *_ in found]),
        np.array([error for _, error, *_ in found]),
        [path for *_, path, _ in found],
        {number: message for number, (*_, message) in enumerate(found) if message},
    )


def _one(
    what: Any, system: System, limit: Any, start: np.ndarray, counts: list[int], tol: float, item: Any
) -> tuple[float, float, GeometricPath | None, str]:
    """Value, error, path and message of one point."""
    end, guesses = item
    if np.array_equal(end, start):
        return 0.0, 0.0, None, ""
    began = time.perf_counter(), time.process_time()
    ends = Ends(start, end, limit)
    candidates = search(system, ends, guesses, counts, 0, tol, 0)
    candidates = passing_by(system, candidates, guesses, counts, tol) + candidates
    if not candidates:
        return np.nan, np.nan, None, "no path was found on which the action is finite"
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    path = make_result(what, system, ends, candidates, counts, seconds)
    if not path.success:
        return np.nan, np.nan, path, path.message
    return path.action, path.action_error, path, ""


def _guesses(system: System, base: Ends, ends: np.ndarray, starts: int, seed: int) -> list[list[Guess]]:
    """List the guesses to each of the ends."""
    guesses = [[line(base.start, end)] for end in ends]
    if system.size == 1:
        return guesses
    known = [base.start[None], ends]
    if base.limit.orbit is not None:
        known.append(base.limit.orbit)
    else:
        for found, end in zip(guesses, ends, strict=True):
            curve = None if np.array_equal(end, base.start) else instanton(system, base.start, end)
            if curve is not None:
                found.append(curve)
                known.append(curve.curve)
    if system.size == 2:
        ways = grid_ways(system, base.start, ends, np.concatenate(known), BOXES)
    else:
        away = [not np.array_equal(end, base.start) for end in ends]
        ways = [strings(system, base.start, end, starts, seed) if a else [] for end, a in zip(ends, away, strict=True)]
    return [found + way for found, way in zip(guesses, ways, strict=True)]


def _farthest(start: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return np.asarray(ends[np.linalg.norm(ends - start, axis=1).argmax()])


def _points(name: str, value: Any, size: int) -> np.ndarray:
    try:
        points = np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers (m, {size}): {error}") from None
    if points.ndim != 2 or points.shape[1] != size or not len(points):
        raise InputError(f"{name} must have shape (m, {size}), got {points.shape}")
    if not np.isfinite(points).all():
        raise InputError(f"{name} must be finite, got {points[~np.isfinite(points).all(axis=1)][0]}")
    return points
