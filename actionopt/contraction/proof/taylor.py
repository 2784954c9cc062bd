"""A rate on a ball from the Hessian at its centre and the next derivatives over it **[ours]**.

With H and T the second and third derivative of the energy at the centre and Q the fourth over the ball, for
`|x| <= R` and any W,

    W^T (H(x) - s) W  >=  W^T (H - s) W - R tau - (R^2 / 2) q,
    tau >= T~[x, v, v],   q >= -Q~[x, x, v, v]     for unit v and x,    T~, Q~ the tensors with W applied to v's axes.

Where the right-hand side is positive, `H(x) > s`. `W = V (lambda - s)^-1/2`, of the eigenvectors of H, makes its first
term the identity and weighs directions by how far they are from s. With T over the ball in place of its centre there is
no term in Q: the mean value form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, unit_mass
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue, spectral_radius
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import UNIT, Interval, middle, point

TRIES = 12  # levels tried for the best rate
Margins = tuple[float, float, float]


@dataclass(frozen=True)
class Taylor:
    """What is known of the Hessian on a ball: at its centre, and how far it moves.

    Attributes
    ----------
    hessian : Interval (n, n)
        At the centre.
    third : Interval (n, n, n)
        At the centre, or over the ball where there is no fourth.
    fourth : Interval (n, n, n, n) or None
        Over the ball.

    metric, turned : Interval (n, n), (n, n, n), optional
        The metric at the centre and its derivative over the ball, where it is not the mass: R in place of the Hessian,
        the rate is above s where `R - s G` is positive.

    Nothing is known beyond the ball that the highest of them was enclosed over.
    """

    hessian: Interval
    third: Interval
    fourth: Interval | None
    metric: Interval | None = None
    turned: Interval | None = None

    def margins(self, level: float) -> Margins | None:
        """Return bounds of `W^T (H - s) W` from below, of tau and of q, for s = level; None above the centre's rate."""
        if self.modes is None or level >= self.modes[0][0]:
            return None
        values, vectors = self.modes
        w = vectors / np.sqrt(values - level)
        metric = unit_mass(len(w)) if self.metric is None else self.metric
        third = self.third if self.turned is None else self.third - self.turned * level
        q = 0.0 if self.fourth is None else fall_of(weighed(self.fourth, w))
        shifted = weighed(self.hessian - metric * level, w)
        moved = weighed(third.map(lambda x: np.moveaxis(x, 0, -1)), w)
        return float(least_eigenvalue(shifted)), spread_of(moved), q

    @cached_property
    def modes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Rates and directions at the centre, about; None where nothing is known there."""
        if not self.hessian.finite:
            return None
        hessian = middle(self.hessian)[0]
        if self.metric is None:
            values, vectors = np.linalg.eigh(hessian)
            return values, vectors
        half = np.linalg.inv(np.linalg.cholesky(middle(self.metric)[0]))
        whole = half @ hessian @ half.T
        values, vectors = np.linalg.eigh(0.5 * (whole + whole.T))
        return values, half.T @ vectors

    def radius(self, level: float) -> float:
        """Return the largest radius that leaves the rate above a level, if the ball is as large; 0 for none."""
        found = self.margins(level)
        return 0.0 if found is None else radius_of(found)

    def rate(self, radius: float) -> float:
        """Return a lower bound of the rate on a ball of that radius, if it was enclosed; -inf for none."""
        if self.modes is None:
            return -np.inf
        top = float(self.modes[0][0])
        span = max(float(abs(middle(self.hessian)[0]).max()), np.finfo(float).tiny)
        gap, low = 1e-3 * span, -np.inf
        for _ in range(TRIES):  # the margin is about 1 - c / (top - level): its root is top - c
            found = self.margins(top - gap)
            if found is None or not np.isfinite(found).all():
                return low
            if holds(found, radius):
                low = max(low, top - gap)
            wanted = gap * (1.0 - found[0] + radius * found[1] + radius * (0.5 * radius * found[2])) * (1.0 + 1e-6)
            if low > -np.inf and abs(wanted - gap) < 2e-3 * gap:
                break
            gap = max(wanted * (1.0 + 1e-4), 1e-12 * span)
        return low


def radius_of(found: Margins) -> float:
    """Return a radius on which margins are positive, the largest but for rounding."""
    first, tau, q = found
    if not (first > 0.0 and np.isfinite([tau, q]).all()):
        return 0.0
    if not (tau or q):
        return np.inf
    root = 2.0 * first / (tau + np.sqrt(tau * tau + 2.0 * q * first))
    return float(root) * (1.0 - 1e-9) if holds(found, float(root) * (1.0 - 1e-9)) else 0.0


def holds(found: Margins, radius: float) -> bool:
    """Whether `first - R tau - R^2 q / 2` is surely positive."""
    first, tau, q = found
    reach = point(radius) * ROUNDED
    rest = point(first) - reach * tau - reach * reach * (0.5 * q)
    return bool(rest.lo > 0.0)


def weighed(tensor: Interval, w: np.ndarray) -> Interval:
    """Apply W to the first two axes of a symmetric tensor `(n, n, ..)`: `sum W_ai W_bj A_ab..`; its axes come last."""
    moved = tensor.map(lambda x: np.moveaxis(x, (0, 1), (-2, -1)))
    return INTERVAL.matmul(INTERVAL.matmul(point(w.T), moved), point(w))


def spread_of(third: Interval) -> float:
    """Bound `T[x, v, v]` over unit x and v, x the first axis."""
    centre, radius = middle(third)
    found = _largest(point(centre))
    if np.any(radius):
        found += _largest(point(radius))
    return float(np.nextafter(found, np.inf))


def _largest(third: Interval) -> float:
    """Norm of the tensor as a matrix of rows (x, v) or of rows x, whichever is smaller."""
    n = third.shape[-1]
    tall, flat = third.map(lambda x: x.reshape(-1, n)), third.map(lambda x: x.reshape(n, -1))
    squares = [INTERVAL.matmul(INTERVAL.transpose(tall), tall), INTERVAL.matmul(flat, INTERVAL.transpose(flat))]
    least = min(float(greatest_eigenvalue(square)) for square in squares)
    return float(np.sqrt(max(least, 0.0)) * (1.0 + 2.0 * UNIT)) if np.isfinite(least) else np.inf


def fall_of(fourth: Interval) -> float:
    """Bound `-Q[x, x, v, v]` over unit x and v, from the matrix of rows (x, v) and columns (x, v)."""
    n = fourth.shape[-1]
    pairs = fourth.map(lambda x: x.transpose(0, 2, 1, 3).reshape(n * n, n * n))
    if not pairs.finite:
        return np.inf
    centre, radius = middle(pairs)
    turned = np.maximum(radius, radius.T) + UNIT * abs(centre)
    fall = -float(least_eigenvalue(point(0.5 * (centre + centre.T)))) + float(spectral_radius(turned))
    return max(float(np.nextafter(fall, np.inf)), 0.0)
