"""Gradients and Hessians of single samples over a region, and how far those of two samples can be apart.

A gradient over a ball is bounded from its value at the centre and the Hessian over the ball: `|g_z(x)| <= |g_z(0)| +
R |H_z|`; a difference likewise, with the Hessians less a matrix in the middle, the same for all samples. Decay, which
all samples share, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import (
    ROUNDED,
    box_of,
    derivative_of,
    exact_network,
    seeded,
    unit_scale,
    unless_unknown,
)
from actionopt.contraction.proof.eigenvalues import spectral_radius
from actionopt.contraction.proof.outputs import norms_up
from actionopt.contraction.proof.symmetry import symmetric
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import UNIT, Interval, as_interval, middle, point
from actionopt.problem import Problem

BLOCK = 200_000  # numbers in a block of differences


@dataclass(frozen=True)
class Slopes:
    """Gradients of samples in x over a ball: at its centre, and how far each moves.

    Attributes
    ----------
    centre : Interval (B, n)
    hessian : Interval (B, n, n) or None
        Over the ball; None where the gradients were enclosed over it as they are.
    radius : float
        0 where they were enclosed as they are.
    """

    centre: Interval
    hessian: Interval | None
    radius: float

    def lengths(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Bound `|g_z|` over the ball, `(B,)`; with weights `(n,)` that of `weights * g_z`."""
        g = self.centre if weights is None else self.centre * weights
        found = norms_up(g.magnitude)
        if self.hessian is None:
            return found
        h = self.hessian if weights is None else self.hessian * weights[:, None]
        return _up(found + self.radius * matrix_norms(h))

    def moves(self, middle_of: np.ndarray) -> np.ndarray:
        """Bound how far gradients less those of a common quadratic move over the ball, `(B,)`."""
        if self.hessian is None:
            return np.zeros(self.centre.shape[0])
        return _up(self.radius * matrix_norms(self.hessian - middle_of))


def slopes_over(problem: Problem, centre: np.ndarray, radius: float, data: Any = None) -> Slopes:
    """Enclose the gradients of the problem's samples, or of `data`, over a ball around weights `(n,)`.

    The samples of `data = (inputs, targets)` are numbers or intervals.
    """
    at, over = box_of(problem, centre, 0.0), box_of(problem, centre, radius)
    wide = sample_gradients(problem, over, data)
    n, samples = problem.size, wide.shape[0]
    narrow = data is None or all(as_interval(x).is_point for part in data for x in _several(part))
    if radius == 0.0 or not narrow or n * n * samples > 4_000_000:
        return Slopes(wide, None, 0.0)
    ops, w = seeded(problem, over, 2)
    network = exact_network(problem, data)
    losses = network.values(ops, network.forward(ops, network.split(ops, w)))
    values, hessian = (derivative_of(ops, losses, 2, k, n, (samples,)) for k in (0, 2))
    hessian = symmetric(unless_unknown(hessian, values, 2), 2)
    return Slopes(sample_gradients(problem, at, data), hessian, radius * ROUNDED)


def sample_gradients(problem: Problem, box: Interval, data: Any = None) -> Interval:
    """Enclose the gradient in x of the loss of every sample over a box of weights, `(B, n)`, by a pass backwards."""
    network = exact_network(problem, data).one_by_one()
    samples = network.data[0].shape[0] if network.data else network.targets[0].shape[0]
    w = box.map(lambda x: np.broadcast_to(x, (samples, problem.size)))
    pieces = network.split(INTERVAL, w)
    states = network.forward(INTERVAL, pieces)
    _, pulled = network.backward(INTERVAL, pieces, states, network.slopes(INTERVAL, states))
    found = INTERVAL.concatenate([as_interval(piece) for piece in pulled])
    values = as_interval(network.values(INTERVAL, states))[:, 0]
    return unless_unknown(found * point(unit_scale(problem)), values, 1)


def greatest_separation(one: Slopes, other: Slopes, transform: np.ndarray | None = None) -> float:
    """Bound `|A (g_z - g_z')|` over the ball, over all pairs of a sample of each; A is `transform (n, n)`, or 1.

    Both slopes are over the same ball.
    """
    common = common_part(one, other)
    left, right = one.centre, other.centre
    stretch = 1.0
    if transform is not None:
        turned = point(transform.T)
        left, right = INTERVAL.matmul(left, turned), INTERVAL.matmul(right, turned)
        stretch = float(matrix_norms(point(transform)))
    reach_left, reach_right = (s.moves(common) * stretch for s in (one, other))
    (a, ar), (b, br) = middle(left), middle(right)
    greatest = 0.0
    for rows in blocks(a.shape[0], b.size):
        apart = abs(a[rows][:, None, :] - b[None]) * (1.0 + UNIT) + _rows(ar, rows) + br
        bound = norms_up(apart) + reach_left[rows][:, None] + reach_right
        greatest = max(greatest, float(bound.max()) if not np.isnan(bound).any() else np.inf)
    return float(_up(np.asarray(greatest)))


def matrix_norms(matrix: Interval) -> np.ndarray:
    """Bound the spectral norms of matrices `(..., n, n)`, by Frobenius' norm or that of the absolute values."""
    magnitude = matrix.magnitude
    frobenius = norms_up(norms_up(magnitude))
    bounded = np.where(np.isfinite(magnitude), magnitude, 0.0)
    sums = np.sqrt(spectral_radius(np.matmul(np.swapaxes(bounded, -1, -2), bounded) * (1.0 + 2.0**-40)))
    return np.where(np.isfinite(magnitude).all(axis=(-1, -2)), np.minimum(frobenius, sums * (1.0 + 4.0 * UNIT)), np.inf)


def common_part(one: Slopes, other: Slopes) -> np.ndarray:
    """Return a matrix in the middle of all Hessians."""
    if one.hessian is None or other.hessian is None:
        return np.zeros((1, 1))
    lo = np.minimum(one.hessian.lo.min(axis=0), other.hessian.lo.min(axis=0))
    hi = np.maximum(one.hessian.hi.max(axis=0), other.hessian.hi.max(axis=0))
    return np.nan_to_num(0.5 * (lo + hi), posinf=0.0, neginf=0.0)


def _several(part: Any) -> tuple[Any, ...]:
    return part if isinstance(part, tuple) else (part,)


def _rows(radius: Any, rows: slice) -> Any:
    return radius[rows][:, None, :] if np.ndim(radius) else radius


def blocks(count: int, each: int) -> Iterator[slice]:
    """Cut `count` rows of `each` numbers into blocks that fit."""
    step = max(1, BLOCK // max(each, 1))
    return (slice(k, k + step) for k in range(0, count, step))


def _up(x: np.ndarray) -> np.ndarray:
    return x * (1.0 + 8.0 * UNIT)
