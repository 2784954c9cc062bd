"""Branch and bound: the ball is covered by boxes, and the ones that hold a bound back are cut **[ours]**."""

from __future__ import annotations

import time

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, box_of, derivatives, unit_scale
from actionopt.contraction.proof.eigenvalues import least_eigenvalue
from actionopt.contraction.proof.outputs import norms_up
from actionopt.ops.interval import KinkError
from actionopt.ops.rounded import UNIT, Interval
from actionopt.problem import Problem


def rate_in_boxes(
    problem: Problem, centre: np.ndarray, radius: float, boxes: int, deadline: float
) -> tuple[float, int]:
    """Return a lower bound of the euclidean rate on a ball, and the number of boxes it took.

    Parameters
    ----------
    problem : Problem
    centre : array (n,)
    radius : float
    boxes : int
        How many may be looked at.
    deadline : float
        Processor time at which to stop.
    """
    n = problem.size
    middles, reach = np.zeros((1, n)), np.full((1, n), radius * ROUNDED)
    bounds, moves = _bounds(problem, centre, middles, reach)
    looked = 1
    while looked + 2 <= boxes and time.process_time() < deadline:
        # cut the worst boxes, a tenth of those left at a time, each across the axis along which its Hessian moves most
        count = max(1, min((boxes - looked) // 2, 1 + len(bounds) // 10))
        worst = np.argsort(bounds)[:count]
        cut = (moves * reach)[worst].argmax(axis=1)
        half = reach[worst].copy()
        half[range(len(worst)), cut] *= 0.5
        shift = np.zeros_like(half)
        shift[range(len(worst)), cut] = half[range(len(worst)), cut]
        new = np.concatenate([middles[worst] - shift, middles[worst] + shift])
        new_reach = np.concatenate([half, half]) * (1.0 + 4.0 * UNIT)
        touching = _distance(new, new_reach) <= radius * ROUNDED
        keep = np.setdiff1d(np.arange(len(bounds)), worst)
        found, moved = _bounds(problem, centre, new[touching], new_reach[touching])
        looked += 2 * len(worst)
        middles, reach = (
            np.concatenate([middles[keep], new[touching]]),
            np.concatenate([reach[keep], new_reach[touching]]),
        )
        bounds, moves = np.concatenate([bounds[keep], found]), np.concatenate([moves[keep], moved])
    return float(bounds.min()), looked


def _bounds(
    problem: Problem, centre: np.ndarray, middles: np.ndarray, reach: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bound the rate on boxes around `middles (k, n)` in x; also how fast the Hessian moves along each axis."""
    scale = unit_scale(problem)
    at = centre + scale * middles
    loose = reach * (1.0 + 8.0 * UNIT) + 8.0 * UNIT * (abs(centre) / scale + abs(middles))  # `at` is rounded
    try:
        over = derivatives(problem, box_of(problem, at, loose), 3)
    except KinkError:
        return np.full(len(middles), -np.inf), np.ones_like(middles)
    here = derivatives(problem, box_of(problem, at, 0.0), 2)[2]
    third = over[3].magnitude
    with np.errstate(all="ignore"):
        # third[..., i, j, k] y_k summed up, |y_k| <= reach_k
        moved = (third * loose[:, None, None, :]).sum(axis=-1) * (1.0 + (problem.size + 4) * UNIT)
        moved = np.where(np.isnan(moved), np.inf, moved)
    form = here + Interval(-moved, moved)
    mass = 1.0 + 2.0**-47 * np.array([-1.0, 1.0])  # of x
    bound = np.fmax(least_eigenvalue(form), least_eigenvalue(over[2]))
    bound = np.where(bound >= 0.0, bound / mass[1], bound / mass[0])
    return np.where(np.isnan(bound), -np.inf, bound), np.nan_to_num(
        norms_up(norms_up(np.moveaxis(third, -1, -3))), posinf=1e300
    )


def _distance(middles: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Lower bound of the distance of boxes from the origin."""
    gap = np.maximum(abs(middles) - reach, 0.0)
    return np.sqrt((gap * gap).sum(axis=-1)) * (1.0 - (middles.shape[-1] + 8) * UNIT)
