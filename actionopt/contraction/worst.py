"""The least contraction over a region of weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from actionopt.action.progress import progress_bar
from actionopt.arrays import real_array
from actionopt.contraction.rate import Contraction, contraction_at, contraction_rate
from actionopt.errors import InputError
from actionopt.executors import run_in_order
from actionopt.problem import Problem, takes_problem

SENT = 10  # points that a worker takes at once


@dataclass(frozen=True)
class WorstRate(Contraction):
    """The smallest contraction rate found, where it occurs, and all rates that were looked at.

    Attributes
    ----------
    rate, direction, weights, metric
        As in `Contraction`, at the point that contracts least.
    points : array (N, n)
        The points looked at, before refinement.
    rates : array (N,)
        Their rates.

    Examples
    --------
    >>> found = ao.worst_rate(problem, box=(w - 0.1, w + 0.1), samples=5)
    >>> bool(found.rate < ao.contraction_rate(problem, w))
    True
    """

    points: np.ndarray
    rates: np.ndarray

    @property
    def message(self) -> str:
        """What the figure is worth."""
        return (
            f"the smallest of {len(self.rates)} rates, refined locally where a box was given: the true worst case may "
            "be smaller still, so this refutes contraction but does not prove it"
        )

    def __repr__(self) -> str:
        return f"WorstRate({self.rate:.6g} in the {self.metric} metric, of {len(self.rates)} points)"


@takes_problem
def worst_rate(
    problem: Problem,
    *,
    box: tuple[Any, Any] | None = None,
    points: Any = None,
    samples: int = 100,
    refine: int = 100,
    seed: int = 0,
    metric: str = "layerwise",
    executor: Any = None,
    progress: bool = False,
) -> WorstRate:
    """Search a box, or a set of points, for the weights where the flow contracts least.

    Parameters
    ----------
    problem : Problem
    box : (lower, upper), optional
        Each a number or `(n,)`. Its centre and `samples` points drawn evenly in it are looked at, and the worst one is
        refined by a bounded Powell search, which needs no derivative of an eigenvalue that may be double.
    points : array (N, n), optional
        The points to look at instead, as a trajectory's weights.
    samples : int
        How many points to draw in the box.
    refine : int
        About how many more rates the search may compute; 0 for none.
    seed : int
        Of the draw.
    metric : "layerwise", "joint" or "euclidean"
    executor : optional
        Where the rates at the points are computed, as for `sweep`; the search that follows runs here.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    WorstRate

    Raises
    ------
    InputError
        If neither or both of box and points are given or they do not fit, or a point has no rate.

    Examples
    --------
    >>> found = ao.worst_rate(problem, box=(w - 0.1, w + 0.1), samples=5)
    >>> bool(found.rate < ao.contraction_rate(problem, w))
    True
    """
    if (box is None) == (points is None):
        raise InputError("worst_rate needs a box (lower, upper) or points (N, n), one of the two")
    bounds = None if box is None else _bounds(box, problem.size)
    drawn = _points(problem, points) if bounds is None else _draw(bounds, samples, seed)
    parts = [(first, drawn[first : first + SENT]) for first in range(0, len(drawn), SENT)]
    with progress_bar(len(parts), "contraction rates", progress) as tick:
        rates = np.concatenate(run_in_order(partial(_rates, problem, metric), parts, executor, tick))
    worst = drawn[rates.argmin()]
    if bounds is not None and refine > 0:
        worst = _refined(problem, worst, bounds, refine, metric)
    found = contraction_at(problem, worst, metric=metric)
    return WorstRate(found.rate, found.direction, found.weights, metric, drawn, rates)


def _rates(problem: Problem, metric: str, part: tuple[int, np.ndarray]) -> list[float]:
    """Return the rates at some points; an error names the point, the first of which has the given number."""
    first, points = part
    rates = []
    for number, w in enumerate(points, first):
        try:
            rates.append(contraction_rate(problem, w, metric=metric))
        except InputError as error:
            raise InputError(f"point {number}: {error}") from error
    return rates


def _bounds(box: tuple[Any, Any], n: int) -> np.ndarray:
    """Return the box as `(2, n)`."""
    try:
        lower, upper = box
        bounds = np.stack([np.broadcast_to(real_array("bounds", edge), (n,)) for edge in (lower, upper)])
    except (TypeError, ValueError):
        raise InputError(f"box must be (lower, upper), each a number or {n} numbers; got {box!r}") from None
    if not (np.isfinite(bounds).all() and (bounds[0] <= bounds[1]).all()):
        raise InputError("box must be finite, with lower <= upper in every weight")
    return bounds


def _points(problem: Problem, points: Any) -> np.ndarray:
    nodes = np.atleast_2d(problem.check_weights(points, "points"))
    if nodes.ndim != 2 or not len(nodes):
        raise InputError(f"points must have shape (N, {problem.size}), N >= 1; got {nodes.shape}")
    return nodes


def _draw(bounds: np.ndarray, samples: int, seed: int) -> np.ndarray:
    if samples < 0:
        raise InputError(f"samples must be >= 0, got {samples}")
    low, high = bounds
    drawn = np.random.default_rng(seed).uniform(low, high, size=(samples, bounds.shape[1]))
    return np.concatenate([bounds.mean(axis=0, keepdims=True), drawn])


def _refined(problem: Problem, start: np.ndarray, bounds: np.ndarray, evaluations: int, metric: str) -> np.ndarray:
    """Search on from `start` within the box; returns the worst point met."""
    met = [(contraction_rate(problem, start, metric=metric), start)]
    wide = bounds[1] > bounds[0]

    def rate(v: np.ndarray) -> float:
        w = start.copy()
        w[wide] = np.clip(v, *bounds[:, wide])
        met.append((contraction_rate(problem, w, metric=metric), w))
        return met[-1][0]

    if wide.any():
        from scipy.optimize import minimize  # a third of a second, which few runs need

        options = {"maxfev": evaluations, "xtol": 1e-3, "ftol": 1e-6}
        minimize(rate, start[wide], method="Powell", bounds=bounds[:, wide].T, options=options)
    return min(met, key=lambda pair: pair[0])[1]
