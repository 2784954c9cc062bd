"""Quasipotentials: the least action from an attractor to many points."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.errors import InputError
from actionopt.executors import run_in_order
from actionopt.paths.geometric import action_density
from actionopt.paths.guesses import Guess, grid_ways, instanton, line, strings
from actionopt.paths.least_action import check_counts, check_drift, check_numbers, make_result
from actionopt.paths.result import GeometricPath
from actionopt.paths.search import Ends, all_guesses, make_ends, search
from actionopt.paths.system import System, make_flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOXES = (1.0, 2.0)
ROUNDS, NEIGHBOURS = 3, 8  # looks at whether neighbours offer less, and how many of them
GAIN = 1e-6  # by how much less, relative to the value
MIDDLES = (np.arange(40)[:, None] + 0.5) / 40  # of the pieces of the line from a neighbour
REST = np.linspace(1.0, 0.0, 12)[1:, None]

Found = tuple[float, float, "GeometricPath | None", str]  # value, error, path and message of a point


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
        Estimated errors of the values, as `GeometricPath.action_error`.
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
    orbit: np.ndarray | None = None

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
        all (in the plane) or strings, and again from the path of a neighbour where that would cost less.
    executor : optional
        Where the points are searched, as for `sweep`; processes need a system that can be pickled, as those of problem
        files can.

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
    run = partial(run_in_order, executor=executor)
    found = run(work, list(zip(ends, guesses, strict=True)))
    if system.size > 1:
        lost = [number for number, (value, *_) in enumerate(found) if np.isnan(value)]
        alone = [(number, all_guesses(system, Ends(start, ends[number], limit), starts, seed)) for number in lost]
        _improve(run, work, ends, found, alone)
        for _ in range(ROUNDS):
            _improve(run, work, ends, found, _from_neighbours(system, ends, found))
    return Quasipotential(
        flow.name,
        first,
        targets,
        np.array([value for value, *_ in found]),
        np.array([error for _, error, *_ in found]),
        [path for *_, path, _ in found],
        {number: message for number, (*_, message) in enumerate(found) if message},
        None if limit.orbit is None else system.outward(limit.orbit),
    )


def _one(what: Any, system: System, limit: Any, start: np.ndarray, counts: list[int], tol: float, item: Any) -> Found:
    """Value, error, path and message of one point."""
    end, guesses = item
    if np.array_equal(end, start):
        return 0.0, 0.0, None, ""
    began = time.perf_counter(), time.process_time()
    ends = Ends(start, end, limit)
    candidates = search(system, ends, guesses, counts, 0, tol, 0)
    if not candidates:
        return np.nan, np.nan, None, "no path was found on which the action is finite"
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    path = make_result(what, system, ends, candidates, counts, seconds)
    if not path.success:
        return np.nan, np.nan, path, path.message
    return path.action, path.action_error, path, ""


def _from_neighbours(system: System, ends: np.ndarray, found: list[Found]) -> list[tuple[int, list[Guess]]]:
    """Return guesses for the points that a neighbour's path and the line from there would reach for less.

    The value of a point is at most that of another and the action of any path between the two: where it is not, what
    was found is not the least.
    """
    known = [number for number, (value, *_) in enumerate(found) if np.isfinite(value)]
    guesses = []
    for number, (value, error, *_) in enumerate(found):
        others = sorted((k for k in known if k != number), key=lambda k: np.linalg.norm(ends[k] - ends[number]))
        near = [k for k in others[:NEIGHBOURS] if found[k][2] is not None]
        if not near:
            continue
        bounds = []
        for k in near:
            middle, steps = ends[k] + MIDDLES * (ends[number] - ends[k]), (ends[number] - ends[k]) / len(MIDDLES)
            bounds.append(
                found[k][0] + float(action_density(system, middle, np.broadcast_to(steps, middle.shape)).sum())
            )
        best = int(np.argmin(np.where(np.isfinite(bounds), bounds, np.inf)))
        if bounds[best] < value - error - GAIN * abs(value) or (np.isnan(value) and np.isfinite(bounds[best])):
            path = found[near[best]][2]
            assert path is not None
            curve = np.concatenate(
                [system.inward(path.points), ends[number] + (ends[near[best]] - ends[number]) * REST]
            )
            guesses.append((number, [Guess("neighbour", curve)]))
    return guesses


def _improve(
    run: Callable[..., Any],
    work: Callable[[Any], Found],
    ends: np.ndarray,
    found: list[Found],
    trials: list[tuple[int, list[Guess]]],
) -> None:
    """Search some points again from other guesses, and keep what is lower."""
    better = run(work, [(ends[number], guesses) for number, guesses in trials])
    for (number, _), new in zip(trials, better, strict=True):
        if new[0] < found[number][0] or np.isnan(found[number][0]):
            found[number] = new


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
