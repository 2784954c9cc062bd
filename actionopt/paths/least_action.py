"""Paths of least action that find themselves: the entry to the search."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from actionopt.action.trajectory import Trajectory
from actionopt.errors import InputError, SolverError
from actionopt.paths.attractor import Limit
from actionopt.paths.critical import at_rest, describe
from actionopt.paths.geometric import action_density
from actionopt.paths.guesses import Guess, line
from actionopt.paths.near_critical import excess
from actionopt.paths.release import least_cut
from actionopt.paths.result import CriticalPoint, GeometricPath, PathCandidate
from actionopt.paths.search import Candidate, Ends, index_of, make_ends, search
from actionopt.paths.system import DriftFlow, System, make_flow
from actionopt.problem import Problem

RESOLVED, SMALL = 1e-2, 1e-2  # difference of the action and that of the curve, relative to it or to its scale
ROUNDING = 1e-13  # error of the action, relative to its scale, that no mesh removes


def least_action_path(
    what: Any,
    start: Any,
    end: Any,
    *,
    guess: Any = None,
    elements: Sequence[int] = (25, 50, 100),
    starts: int = 4,
    metric: str = "layerwise",
    tol: float = 1e-9,
    seed: int = 0,
    throw: bool = True,
) -> GeometricPath:
    """Find the path of least action between two points, whatever the time it takes.

    The action is `int (|x'|_M |b|_M - x' . M b)`, the infimum over all horizons of `1/2 int |v - b|^2_M dt` (Heymann
    and Vanden-Eijnden, 2008). From an attractor it is the quasipotential of the end: exits at small noise eps occur at
    the rate `exp(-S / eps)`. For a gradient flow it is twice the climb in energy, in any metric.

    Parameters
    ----------
    what : Problem or Drift
        A problem stands for its gradient flow `w' = -G^{-1} g` with the noise `G^{-1}`.
    start, end : array (n,)
        As a rule attractors, a point of a limit cycle included. From any other start the flow to its attractor costs
        nothing; the message says what the action then means.
    guess : array (k, n), GeometricPath or Trajectory, optional
        Where to begin, in place of the search's own guesses. The path is the stationary one near it, and is kept where
        its second variation is negative: `is_minimum` says so.
    elements : sequence of int
        Numbers of quadratic elements, solved in turn; the last two give `action_error`. More than one unless the error
        is not asked for: with one its half is solved too.
    starts : int
        Number of strings to begin with, in more than two dimensions.
    metric : "layerwise", "joint" or "euclidean"
        Metric of a problem's flow; euclidean is the mass alone.
    tol : float
        Gradient across the path, times its length over `int |x'| |b|`, at which it counts as converged.
    seed : int
        Of the strings.
    throw : bool
        Raise if the path does not converge; otherwise it comes back with its status.

    Returns
    -------
    GeometricPath
        The least of the paths that were found; `candidates` lists all.

    Raises
    ------
    InputError
        For input that cannot be used; where drift or noise are not sound, the point is named.
    SolverError
        If the least path does not converge; its `result` is that path.

    Examples
    --------
    The double well: uphill to the saddle the action is twice the barrier, downhill it is 0.

    >>> import actionopt as ao
    >>> well = ao.Drift(1, lambda ops, x: x - x**3)
    >>> round(ao.least_action_path(well, [-1.0], [1.0]).action, 9)
    0.5
    """
    began = time.perf_counter(), time.process_time()
    flow = make_flow(what, metric)
    first, last = (_point(name, value, flow.size) for name, value in (("start", start), ("end", end)))
    counts = check_counts(elements)
    check_numbers(tol, starts, seed)
    if np.array_equal(first, last):
        raise InputError("start and end are one point: there is no path between them")
    check_drift(flow, "start", first)
    check_drift(flow, "end", last)
    system = System(flow, first)
    ends = make_ends(system, system.inward(first), system.inward(last))
    curves = None if guess is None else [_guess(system, guess, first, last)]
    candidates = search(system, ends, curves, counts, starts, tol, seed, leave=curves is None)
    if not candidates:
        raise _unreachable(system, ends)
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    found = make_result(what, system, ends, candidates, counts, seconds)
    if throw and not found.success:
        raise SolverError(found.message, found)
    return found


def make_result(
    what: Any,
    system: System,
    ends: Ends,
    candidates: list[Candidate],
    counts: Sequence[int],
    seconds: tuple[float, float],
) -> GeometricPath:
    """Describe the least of the candidates."""
    least = candidates[0]
    resolved, path = least.found, least.found.path
    points = system.outward(path.points)
    points[0], points[-1] = system.outward(ends.start), system.outward(ends.end)
    value = index_of(least)
    error = least.change + least.turned + ROUNDING * path.gross
    error += resolved.stationary.gradient_norm * path.gross
    error += abs(path.action - path.curve_action)
    error += excess(system, resolved) if system.size > 1 else 0.0
    cut = least_cut(system, resolved)
    error += 0.0 if cut is None else path.curve_action - cut.curve_action
    status = resolved.stationary.status
    if status == "converged" and abs(path.action - path.curve_action) > RESOLVED * max(
        abs(path.action), SMALL * path.gross
    ):
        status = "underresolved"
    stats = {
        "gradient_norm": resolved.stationary.gradient_norm,
        "iterations": resolved.stationary.iterations,
        "length": path.length,
        "elements": path.count,
        "actions": dict(zip(map(str, counts), least.history[-len(counts) :], strict=False)),
        "guess": least.name,
        "start": ends.limit.kind,
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
    }
    arc = np.zeros(len(points))
    halves = 0.5 * path.densities.length
    arc[1:] = np.cumsum(halves)
    accumulated = np.concatenate([[0.0], np.cumsum(0.5 * path.densities.value)])
    speed = np.sqrt(np.maximum(_squared_speed(system, path.points), 0.0))
    return GeometricPath(
        name=system.flow.name,
        points=points,
        action=path.action,
        action_error=error,
        arc=arc,
        speed=speed,
        accumulated=accumulated,
        critical_points=_critical_points(system, resolved, ends),
        lowest_eigenvalue=value,
        candidates=[_candidate(system, candidate) for candidate in candidates],
        energy=_energy(what, points),
        success=status == "converged",
        status=status,
        message=_message(status, value, ends.limit, resolved.stationary.gradient_norm),
        stats=stats,
    )


def _squared_speed(system: System, z: np.ndarray) -> np.ndarray:
    drift = system.drift(z)
    return np.einsum("ki,kij,kj->k", drift, system.metric_at(z), drift)


def _critical_points(system: System, resolved: Any, ends: Ends) -> list[CriticalPoint]:
    out = []
    count = resolved.path.count
    for cut in resolved.cuts:
        z = resolved.path.points[2 * cut]
        if cut in (0, count) and at_rest(system, z, resolved.path.length) is None:
            continue
        point = describe(system, z)
        out.append(CriticalPoint(point.point, 2 * int(cut), point.unstable))
    return out


def _candidate(system: System, candidate: Candidate) -> PathCandidate:
    path, stationary = candidate.found.path, candidate.found.stationary
    finest = len(candidate.history) > 1 and stationary.converged
    action = candidate.action if finest else candidate.cost
    return PathCandidate(candidate.name, action, path.count, system.outward(path.points), finest)


def _message(status: str, value: float, start: Limit, gradient: float) -> str:
    if status == "underresolved":
        return "the action of the curve itself is more than 1 % from that of its elements: take more elements"
    if status != "converged":
        advice = "more elements, another guess or more starts may help"
        return f"the path is not stationary ({status}; relative gradient {gradient:.1e}): {advice}"
    parts = ["the action is stationary"]
    parts.append(
        "and a local minimum across the path" if value > 0 else "but NO minimum: its second variation is negative"
    )
    parts.append("; other minima may lie elsewhere (candidates lists what was found)")
    if start.kind == "critical point" and start.stable:
        parts.append(". The start attracts: the action is the quasipotential of the end")
    elif start.kind == "critical point":
        parts.append(
            ". The start is a critical point that does not attract: the action is the cost from there, no rate"
        )
    elif start.orbit is not None and start.at_once:
        parts.append(". The start lies on a limit cycle: the action is the quasipotential of the end")
    elif start.kind in ("attractor", "cycle"):
        parts.append(
            ". The start is no attractor: the flow takes it to one at no cost, and the action is at most the "
            "quasipotential of the end seen from there"
        )
    else:
        parts.append(". The start is no attractor, and where the flow goes from it was not found: the action is a cost")
    return " ".join(parts[:2]) + "".join(parts[2:])


def _energy(what: Any, points: np.ndarray) -> np.ndarray | None:
    if isinstance(what, Problem):
        return np.asarray(what.energy(points))
    energy = what.energy(points)
    return None if energy is None else np.asarray(energy, dtype=float)


def _point(name: str, value: Any, size: int) -> np.ndarray:
    try:
        point = np.atleast_1d(np.array(value, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be {size} numbers, got {value!r}: {error}") from None
    if point.shape != (size,):
        raise InputError(f"{name} must have shape ({size},), got {point.shape}")
    if not np.isfinite(point).all():
        raise InputError(f"{name} must be finite, got {point}; a path without horizon has both ends fixed")
    return point


def check_counts(elements: Any) -> list[int]:
    """Return the numbers of elements, two at least; raise InputError unless they increase."""
    try:
        counts = [elements] if isinstance(elements, int) else list(elements)
        sound = bool(counts) and all(not isinstance(c, bool) and int(c) == c and c >= 4 for c in counts)
    except (TypeError, ValueError):
        sound = False
    if not sound or any(b <= a for a, b in itertools.pairwise(counts)):
        raise InputError(f"elements must be whole numbers >= 4 that increase, such as (25, 50, 100), got {elements!r}")
    return [max(4, counts[0] // 2), *counts] if len(counts) == 1 and counts[0] > 4 else counts


def check_numbers(tol: Any, starts: Any, seed: Any) -> None:
    """Raise InputError for a tolerance, a number of strings or a seed that cannot be used."""
    if isinstance(tol, bool) or not np.isscalar(tol) or not 0 < float(tol) < 1:  # type: ignore[arg-type]
        raise InputError(f"tol must be a number between 0 and 1, got {tol!r}")
    for name, value in (("starts", starts), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise InputError(f"{name} must be a whole number >= 0, got {value!r}")


def check_drift(flow: Any, name: str, point: np.ndarray) -> None:
    """Raise InputError where drift or noise are not sound at a point."""
    with np.errstate(all="ignore"):
        drift = flow.drift(point[None])[0]
    if not np.isfinite(drift).all():
        raise InputError(f"the drift is {drift} at the {name} {point}: it must be finite there")
    flow.metric_at(point[None])


def _guess(system: System, guess: Any, first: np.ndarray, last: np.ndarray) -> Guess:
    if isinstance(guess, (GeometricPath, Trajectory)):
        given = guess.points
    else:
        try:
            given = np.array(guess, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"guess must be points (k, {system.size}), got {type(guess).__name__}") from None
    if given.ndim != 2 or given.shape[1] != system.size or len(given) < 2 or not np.isfinite(given).all():
        raise InputError(f"guess must be at least two finite points (k, {system.size}), got shape {given.shape}")
    curve = system.inward(given)
    curve[0], curve[-1] = system.inward(first), system.inward(last)
    return Guess("guess", curve)


def _unreachable(system: System, ends: Ends) -> InputError:
    """Say where on the straight line drift or noise are not sound."""
    curve = line(ends.start, ends.end).curve
    cost = action_density(system, curve, np.broadcast_to(ends.end - ends.start, curve.shape))
    wrong = np.flatnonzero(~np.isfinite(cost))
    if not len(wrong):
        return InputError("no path was found on which the action is finite: give a guess")
    z = curve[wrong[0]]
    place = np.array2string(system.outward(z), precision=6)
    if not np.isfinite(system.drift(z)).all():
        with np.errstate(all="ignore"):
            reason = f"the drift is {system.flow.drift(system.outward(z)[None])[0]}"
    else:
        reason = "the noise is not positive definite"
        if isinstance(system.flow, DriftFlow):
            try:
                system.flow.metric_at(system.outward(z)[None])
            except InputError as error:
                reason = str(error)
    return InputError(
        f"the end cannot be reached by any path that was tried: {reason} at {place}. Give a guess that goes round"
    )
