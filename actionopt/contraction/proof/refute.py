"""Search a ball for weights where the flow contracts too little, and check the one found on intervals."""

from __future__ import annotations

import numpy as np

from actionopt.contraction.displacement import displacement
from actionopt.contraction.proof.derivatives import ROUNDED, box_of, derivatives, unit_mass, unit_scale
from actionopt.contraction.proof.metrics import Pencil, pencil
from actionopt.contraction.proof.outputs import norms_up, outputs
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import point
from actionopt.problem import Problem

MOST, GROWTH, SHRINK, HALVINGS = 1e3, 1.15, 0.97, 7  # of the search of the nearest counterexample
STEPS, STARTS, DRAWS = 12, 3, 40  # of the search along the steepest fall of the rate; points drawn where there is none


def find_counterexample(
    problem: Problem, centre: np.ndarray, radius: float, rate: float, metric: str
) -> tuple[np.ndarray, float] | None:
    """Return weights in the ball whose rate is below `rate`, with an upper bound of it; None where none was found.

    Parameters
    ----------
    problem : Problem
    centre : array (n,)
    radius : float
        In the norm of the mass.
    rate : float
    metric : "euclidean", "joint" or "layerwise"

    Notes
    -----
    In the euclidean metric the rate falls fastest along `-T[v, v]`, v the direction that contracts least; each step
    goes to the edge of the ball along it. In the others points of the edge are drawn.
    """
    scale = unit_scale(problem)
    inside = radius * (1.0 - 1e-12)
    rng = np.random.default_rng(0)
    starts = [np.zeros(len(centre)), *rng.standard_normal((STARTS if metric == "euclidean" else DRAWS, len(centre)))]
    for start in starts:
        length = float(np.linalg.norm(start))
        x = start * (inside / length) if length else start
        for _ in range(STEPS if metric == "euclidean" else 1):
            w = centre + scale * x
            found = upper_rate(problem, w, metric)
            if found < rate and _within(problem, centre, w, radius):
                return w, found
            if metric == "euclidean":
                x = _fall(problem, w) * inside
    return None


def refuted_beyond(
    problem: Problem, centre: np.ndarray, low: float, *, metric: str = "euclidean", most: float = MOST
) -> float | None:
    """Return about the smallest radius above `low` of a ball that holds a checked point without a positive rate.

    None where none was found up to `most` times `low`. What is found is drawn towards the centre as far as its rate
    stays negative, and smaller balls are searched again.
    """
    found, radius = None, GROWTH * low
    while radius <= most * low:
        counterexample = find_counterexample(problem, centre, radius, 0.0, metric)
        if counterexample is not None:
            found = _drawn_in(problem, centre, counterexample[0], metric)
            radius = max(SHRINK * found, low)
        elif found is not None or not radius * GROWTH < np.inf:
            break
        else:
            radius *= GROWTH
    return found


def _drawn_in(problem: Problem, centre: np.ndarray, w: np.ndarray, metric: str) -> float:
    """Return the distance of the nearest point found on the segment to a counterexample that is one too."""
    good, bad = 0.0, 1.0
    for _ in range(HALVINGS):
        part = 0.5 * (good + bad)
        good, bad = (good, part) if upper_rate(problem, centre + part * (w - centre), metric) < 0.0 else (part, bad)
    return float(norms_up(bad * (w - centre) / unit_scale(problem))) * ROUNDED


def upper_rate(problem: Problem, w: np.ndarray, metric: str) -> float:
    """Return an upper bound of the rate at weights `(n,)`, on intervals; inf where none is known.

    The rate is the least value of `v^T R v / v^T G v`, and any v gives an upper bound.
    """
    try:
        check_smooth(problem, w, output_metric=False)
        local = displacement(problem, w, metric)
        found = _pencil_at(problem, w, metric)
    except InputError:
        return np.inf
    _, vectors = np.linalg.eigh(_unit(local.metric, local.rate_form))
    back = np.linalg.solve(np.linalg.cholesky(local.metric).T, vectors[:, :1])
    v = point(back / unit_scale(problem)[:, None])
    top, bottom = (INTERVAL.matmul(INTERVAL.transpose(v), INTERVAL.matmul(m, v)) for m in (found.form, found.metric))
    quotient = float((top / bottom).hi[0, 0])
    return quotient if np.isfinite(quotient) else np.inf


def _unit(metric: np.ndarray, form: np.ndarray) -> np.ndarray:
    chol = np.linalg.cholesky(metric)
    half = np.linalg.solve(chol, form)
    whole = np.linalg.solve(chol, half.T)
    return 0.5 * (whole + whole.T)


def _pencil_at(problem: Problem, w: np.ndarray, metric: str) -> Pencil:
    box = box_of(problem, w, 0.0)
    if metric == "euclidean" or problem.output_metric is None:
        _, gradient, hessian = derivatives(problem, box, 2)
        return Pencil(hessian, unit_mass(len(w)), -gradient)
    return pencil(problem, outputs(problem, box, 2), derivatives(problem, box, 1)[1], metric)


def _fall(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Direction of length one in x along which the euclidean rate falls fastest."""
    _, _, hessian, third = derivatives(problem, box_of(problem, w, 0.0), 3)
    v = np.linalg.eigh(0.5 * (hessian.lo + hessian.hi))[1][:, 0]
    slope = np.einsum("kij,i,j->k", 0.5 * (third.lo + third.hi), v, v)
    length = float(np.linalg.norm(slope))
    return -slope / length if length > 0.0 else v


def _within(problem: Problem, centre: np.ndarray, w: np.ndarray, radius: float) -> bool:
    """Whether `|w - centre|_D <= radius`, surely."""
    away = (point(w) - centre) / point(unit_scale(problem))
    return bool(norms_up(away.magnitude) * ROUNDED <= radius)
