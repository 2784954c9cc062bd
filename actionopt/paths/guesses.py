"""Where the search begins: the line, the linear instanton, the cheapest way over a grid, strings, turns of a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, expm, solve_continuous_lyapunov

from actionopt.paths.attractor import Limit
from actionopt.paths.dijkstra import cheapest_ways
from actionopt.paths.geometric import action_density
from actionopt.paths.strings import random_arcs, relax
from actionopt.paths.system import System

BOXES = (1.0, 2.0, 4.0)
MARGIN = 0.3  # of the width of what is known, around it
INSTANTON = 400  # points of the instanton
TOGETHER = 0.03  # distance of strings, relative to their length, below which they are one
FLAT = 0.4  # least width of a box, relative to its greatest


@dataclass(frozen=True)
class Guess:
    """A curve `(k, n)` to start from, and what it is called."""

    name: str
    curve: np.ndarray


def line(start: np.ndarray, end: np.ndarray) -> Guess:
    """Return the straight line."""
    return Guess("line", np.linspace(start, end, 101))


def instanton(system: System, attractor: np.ndarray, end: np.ndarray) -> Guess | None:
    """Return the fluctuation path of the flow linearised about an attractor: `A + exp((J + a Sigma^{-1}) t) (y - A)`.

    `Sigma` solves `J Sigma + Sigma J^T + a = 0`; t runs from minus infinity to 0. None where A attracts no
    neighbourhood to first order.
    """
    jacobian = system.jacobian(attractor)
    if not np.isfinite(jacobian).all() or not (np.linalg.eigvals(jacobian).real < 0).all():
        return None
    metric = system.metric_at(attractor)
    if not np.isfinite(metric).all():
        return None
    noise = np.linalg.inv(metric)
    try:
        covariance = solve_continuous_lyapunov(jacobian, -noise)
        outward = jacobian + noise @ np.linalg.inv(covariance)
    except (LinAlgError, np.linalg.LinAlgError):
        return None
    slowest = float(np.linalg.eigvals(outward).real.min())
    if not slowest > 0:
        return None
    back = expm(-outward * (18.0 / slowest) / INSTANTON)
    curve = [end - attractor]
    for _ in range(INSTANTON):
        curve.append(back @ curve[-1])
    return Guess("instanton", np.concatenate([attractor[None], attractor + np.array(curve[::-1])]))


def grid_ways(
    system: System, start: np.ndarray, ends: np.ndarray, known: np.ndarray, boxes: Sequence[float] = BOXES
) -> list[list[Guess]]:
    """Return for each of the ends `(m, 2)` the cheapest ways over boxes around what is known, `(k, 2)`."""
    low, high = known.min(axis=0), known.max(axis=0)
    width = high - low
    width = np.maximum(width, FLAT * width.max())
    middle = 0.5 * (low + high)
    guesses: list[list[Guess]] = [[] for _ in ends]
    for factor in boxes:
        half = (0.5 + MARGIN) * factor * width
        ways = cheapest_ways(system, start, ends, middle - half, middle + half)
        for found, way in zip(guesses, ways, strict=True):
            if way is not None:
                found.append(Guess(f"grid {factor:g}", way))
    return guesses


def strings(system: System, start: np.ndarray, end: np.ndarray, count: int, seed: int) -> list[Guess]:
    """Return strings from random arcs, cheapest first; one of those that came to rest together."""
    curves = relax(system, random_arcs(start, end, count, seed))
    curves = curves[np.isfinite(curves).all(axis=(1, 2))]
    actions = action_density(system, 0.5 * (curves[:, 1:] + curves[:, :-1]), np.diff(curves, axis=1)).sum(axis=1)
    found: list[Guess] = []
    for number in np.argsort(actions):
        curve = curves[number]
        near = TOGETHER * float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())
        if np.isfinite(actions[number]) and all(np.linalg.norm(curve - g.curve, axis=1).max() > near for g in found):
            found.append(Guess(f"string {number}", curve))
    return found


def one_turn_more(limit: Limit, curve: np.ndarray) -> np.ndarray:
    """Go once more round the cycle before a path that starts on it."""
    assert limit.orbit is not None
    orbit = limit.orbit
    near = int(np.linalg.norm(orbit - curve[0], axis=1).argmin())
    round_trip = np.concatenate([orbit[near:-1], orbit[: near + 1]])
    round_trip = round_trip + (curve[0] - round_trip[0])
    return np.concatenate([round_trip, curve[1:]])
