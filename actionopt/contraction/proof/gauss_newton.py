"""A rate on a ball from second derivatives of the outputs, for losses that are convex output by output **[ours]**.

With h a lower bound of the curvature of the loss over the ball (1 for squared errors, p (1 - p) for logistic ones), J_c
the Jacobian at the centre, F the second derivative of the outputs and l' the slope of the loss over the ball,

    A = rho s^2 + 1/B sum_p h_p J_p J_p^T,           H(x) >= ((1 - delta)^2 - eps) A,
    delta^2 = R^2/B |sum_p h_p F_p^2|_A,             eps >= |sum_p l'_p F_p|_A / B         (norms of A^-1/2 . A^-1/2)

since `|(J_c + F x) v|` is at least `|J_c v| - |x| (sum |F v|^2)^1/2`, and the decay does not move. Where residuals are
not small the same is done about the Hessian M at the centre, with h in place of the curvature there: for a level s and
`W = V (lambda - s)^-1/2` of its eigenvectors, all norms now those of `W^T . W`,

    W^T (H(x) - s) W  >=  W^T (M - s) W - 2 |J_c^T h J_c / B|^1/2 delta - |sum_p (l'_p F_p - (l'_p F_p)_c)| / B.
"""

from __future__ import annotations

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, decay, unit_mass
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.outputs import Outputs, joined, rows
from actionopt.contraction.proof.taylor import weighed
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import UNIT, Interval, middle, point
from actionopt.problem import Problem

TRIES = 12  # levels tried for the best rate about the Hessian


def gauss_newton_rate(problem: Problem, centre: list[Outputs], over: list[Outputs], radius: float) -> float:
    """Return a lower bound of the rate on a ball; -inf for none.

    Parameters
    ----------
    problem : Problem
    centre : list of Outputs
        At the centre, with second derivatives.
    over : list of Outputs
        Over the ball, with second derivatives.
    radius : float
    """
    if not all(cost.separable for cost in over):
        return -np.inf
    root = [np.sqrt(np.maximum(_curvature(cost).lo, 0.0)) * (1.0 - 4.0 * UNIT) for cost in over]
    share = point(1.0) / float(problem.samples)
    gram: Interval = point(np.zeros((problem.size, problem.size)))
    for cost, factor in zip(centre, root, strict=True):
        assert cost.jacobian is not None
        scaled = rows(cost.jacobian * factor[..., None], 1)
        gram = gram + INTERVAL.matmul(INTERVAL.transpose(scaled), scaled) * share
    form = gram + decay(problem)
    if not form.finite:
        return -np.inf
    return max(
        _about_gauss_newton(form, over, root, share, radius),
        _about_hessian(form, gram, centre, over, root, share, radius),
    )


def _about_gauss_newton(
    form: Interval, over: list[Outputs], root: list[np.ndarray], share: Interval, radius: float
) -> float:
    values, vectors = np.linalg.eigh(middle(form)[0])
    if values[0] <= 0.0:
        return -np.inf
    w = vectors / np.sqrt(values)
    unit = float(least_eigenvalue(weighed(form, w)))  # W^T A W, one but for rounding
    if not unit > 0.0:
        return -np.inf
    square, slope = _bends(over, root, w)
    moved = np.sqrt(max(square, 0.0) * float(share.hi) / unit) * radius * ROUNDED * (1.0 + 8.0 * UNIT)
    eps = max(slope, 0.0) * float(share.hi) / unit * (1.0 + 8.0 * UNIT)
    if not (moved < 1.0 and np.isfinite(eps)):
        return -np.inf
    kept = (point(1.0) - moved).square() - eps
    least = float(least_eigenvalue(form))
    return float((kept * least).lo) * (1.0 - 2.0**-47) if kept.lo >= 0.0 and least > 0.0 else -np.inf


def _about_hessian(
    form: Interval,
    gram: Interval,
    centre: list[Outputs],
    over: list[Outputs],
    root: list[np.ndarray],
    share: Interval,
    radius: float,
) -> float:
    n = form.shape[-1]
    here: Interval = point(np.zeros((n, n)))
    move: Interval = here
    for cost, wide in zip(centre, over, strict=True):
        here = here + joined(rows(_of(cost.bent), 2), rows(cost.slopes(), 0)) * share
        move = move + joined(rows(_of(wide.bent), 2), rows(wide.slopes(), 0)) * share
    whole = form + here
    moved = move - here
    if not (whole.finite and moved.finite):
        return -np.inf
    top = float(np.linalg.eigvalsh(middle(whole)[0])[0])
    gap, low = 1e-2 * float(abs(middle(whole)[0]).max()), -np.inf
    for _ in range(TRIES):  # the margin is about 1 - c / (top - level): its root is top - c
        values, vectors = np.linalg.eigh(middle(whole)[0])
        w = vectors / np.sqrt(values - (top - gap))
        first = float(least_eigenvalue(weighed(whole - unit_mass(n) * (top - gap), w)))
        square, _ = _bends(over, root, w)
        long = float(greatest_eigenvalue(weighed(gram, w)))
        lost = 2.0 * np.sqrt(max(long, 0.0) * max(square, 0.0) * float(share.hi)) * radius * ROUNDED
        lost = (lost + max(float(greatest_eigenvalue(weighed(-moved, w))), 0.0)) * (1.0 + 16.0 * UNIT)
        if not np.isfinite(first - lost):
            return low
        if first - lost > 0.0:
            low = max(low, top - gap)
        wanted = gap * (1.0 - first + lost) * (1.0 + 1e-4)
        if low > -np.inf and abs(wanted - gap) < 1e-2 * gap:
            break
        gap = max(wanted, 1e-12 * abs(top))
    return low


def _of(x: Interval | None) -> Interval:
    assert x is not None
    return x


def _curvature(cost: Outputs) -> Interval:
    """Curvature of the loss in every output over the ball, `(B, d)`."""
    ones = point(np.ones((*cost.z.shape, 1)))
    return cost.curved(ones)[..., 0]


def _bends(over: list[Outputs], root: list[np.ndarray], w: np.ndarray) -> tuple[float, float]:
    """Bound `|sum_p h_p F_p^2|` and `|sum_p l'_p F_p|` from above, W applied to the axes of v."""
    n = len(w)
    square: Interval = point(np.zeros((n, n)))
    slope: Interval = point(np.zeros((n, n)))
    for cost, factor in zip(over, root, strict=True):
        assert cost.bent is not None
        bent = rows(cost.bent, 2)
        scaled = INTERVAL.matmul(rows(cost.bent * factor[..., None, None], 2), point(w))
        tall = scaled.map(lambda x: x.reshape(-1, n))
        square = square + INTERVAL.matmul(INTERVAL.transpose(tall), tall)
        slope = slope + joined(bent, rows(cost.slopes(), 0))
    if not (square.finite and slope.finite):
        return np.inf, np.inf
    return float(greatest_eigenvalue(square)), float(greatest_eigenvalue(weighed(-slope, w)))
