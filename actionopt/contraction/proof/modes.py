"""Two flows apart by one sample, followed mode by mode **[ours]**.

While both stay in the ball `|x| <= R` around c, their distance obeys `y' = -H y + e`, `y(0) = 0`, H a mean of the
Hessian over the ball and `e = (g_z' - g_z)/n` at the second of them. With eigenvectors V and eigenvalues Lambda > 0 of
the Hessian at c, U = V^-1, `y = V v`, `|U H V - Lambda| <= eta` and `e = b + r`, b its value at c,

    v = F(t) U b + rest,    F = (1 - exp(-Lambda t)) / Lambda,    |rest| <= |U| (|r| + eta |y|) / min Lambda.

So a sample q whose loss has the gradient a at c changes by at most

    |a.V F(t) U b| + |V^T a| |rest| + R |H_q| |y|,

where the bound `d / lam` has the largest |a| times the largest |e| over the smallest eigenvalue, wherever they point.
At any time the factors `1 - exp(-Lambda t)` grow with Lambda from 0 towards 1, so the first term is at most the largest
of the sums of its last k modes, in the order of Lambda, for k = 1 .. n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, unit_scale
from actionopt.contraction.proof.eigenvalues import spectral_norm
from actionopt.contraction.proof.outputs import norms_up
from actionopt.contraction.proof.prover import Prover
from actionopt.contraction.proof.samples import Slopes, blocks, common_part, matrix_norms
from actionopt.contraction.proof.taylor import spread_of
from actionopt.ops.interval import INTERVAL, solved
from actionopt.ops.rounded import UNIT, Interval, middle, point


@dataclass(frozen=True)
class Modes:
    """The Hessian at the centre of a ball in its eigenvectors.

    Attributes
    ----------
    values : array (n,)
        Lambda, positive and ascending.
    vectors : array (n, n)
        V.
    inverse : Interval (n, n)
        U.
    eta : float
        Bound of `|U H V - Lambda|` over the ball.
    radius : float
    """

    values: np.ndarray
    vectors: np.ndarray
    inverse: Interval
    eta: float
    radius: float

    @property
    def slowest(self) -> float:
        """Bound of `|U| / min Lambda`."""
        return _up(spectral_norm(self.inverse) / float(self.values[0]))

    def gains(self, horizon: float | None) -> Iterator[Interval]:
        """Yield `F U (n, n)` at the horizon; where there is none, those of the last 1 .. n modes in the limit."""
        if horizon is not None:
            factors = (1.0 - INTERVAL.exp(point(self.values) * (-float(horizon)))) / point(self.values)
            yield self.inverse * factors[:, None]
            return
        whole = self.inverse / point(self.values)[:, None]
        for k in range(len(self.values)):
            yield whole * (np.arange(len(self.values)) >= k)[:, None].astype(float)


def modes_over(prover: Prover, radius: float) -> Modes | None:
    """Decompose the Hessian at the centre of a ball; None where it is not positive or nothing is known."""
    hessian = prover.at_centre[2]
    if not hessian.finite:
        return None
    values, vectors = np.linalg.eigh(middle(hessian)[0])
    n = len(values)
    inverse = solved(point(vectors), point(np.eye(n)))
    over = prover.derivatives(radius)
    here = INTERVAL.matmul(INTERVAL.matmul(inverse, hessian), point(vectors)) - np.diag(values)
    there = INTERVAL.matmul(INTERVAL.matmul(inverse, over[2]), point(vectors)) - np.diag(values)
    eta = float(np.fmin(_moved(prover, over, inverse, vectors, radius) + matrix_norms(here), matrix_norms(there)))
    return Modes(values, vectors, inverse, _up(eta), radius) if values[0] > 0.0 and np.isfinite(eta) else None


def _moved(prover: Prover, over: list[Interval], inverse: Interval, vectors: np.ndarray, radius: float) -> float:
    """Bound how far `U H V` moves over the ball, by the third derivative."""
    if prover.order < 3:
        return np.inf
    turned = INTERVAL.matmul(INTERVAL.matmul(inverse, over[3]), point(vectors))
    return _up(spread_of(turned) * radius * ROUNDED)


def loss_change(
    modes: Modes, one: Slopes, other: Slopes, distance: float, samples: int, horizon: float | None
) -> float:
    """Bound how much the loss of any sample differs, where one sample of `one` is exchanged for one of `other`.

    `distance` bounds that of the two flows in x.
    """
    moves, rest = _rests(modes, one, other, distance)
    greatest = 0.0
    for asked in (one, other):
        if asked.hessian is None:
            return np.inf
        turned = INTERVAL.matmul(asked.centre, point(modes.vectors))  # V^T a of every sample
        lengths = norms_up(turned.magnitude)
        bent = matrix_norms(asked.hessian) * (asked.radius * distance) + lengths * rest
        for gain in modes.gains(horizon):
            for rows in blocks(len(lengths), moves[0].size + moves[1].size):
                (low, high), (low_other, high_other) = (
                    _ends(turned[rows], gain, slopes.centre, lengths[rows][:, None] * move * modes.slowest)
                    for slopes, move in zip((one, other), moves, strict=True)
                )
                apart = np.maximum(high - low_other, high_other - low) / samples + bent[rows]
                greatest = max(greatest, float(apart.max()) if not np.isnan(apart).any() else np.inf)
    return _up(greatest)


def weight_change(
    modes: Modes, prover: Prover, one: Slopes, other: Slopes, distance: float, horizon: float | None
) -> float:
    """Bound the Euclidean distance of the weights of the two flows, at the horizon or at any time."""
    samples = prover.problem.samples
    moves, rest = _rests(modes, one, other, distance)
    scaled = point(modes.vectors) * point(unit_scale(prover.problem))[:, None]
    long = spectral_norm(scaled)
    if horizon is None:  # every mode at its largest
        whole, stretch = next(modes.gains(None)), long
    else:
        whole, stretch = INTERVAL.matmul(scaled, next(modes.gains(horizon))), 1.0
    (a, ar), (b, br) = (middle(INTERVAL.matmul(x.centre, INTERVAL.transpose(whole))) for x in (one, other))
    greatest = 0.0
    for rows in blocks(len(a), b.size):
        apart = abs(a[rows][:, None] - b[None]) * (1.0 + UNIT) + np.broadcast_to(ar, a.shape)[rows][:, None] + br
        reach = (moves[0][rows][:, None] + moves[1]) * (modes.slowest * long)
        found = (norms_up(apart) * stretch + reach) / samples
        greatest = max(greatest, float(found.max()) if not np.isnan(found).any() else np.inf)
    return _up(greatest + long * rest)


def _ends(turned: Interval, gain: Interval, slopes: Interval, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest of what each sample's gradient does to those asked for, `(Q,)` each, widened by `reach`."""
    product = INTERVAL.matmul(turned, INTERVAL.matmul(gain, INTERVAL.transpose(slopes)))
    return (product.lo - reach).min(axis=1), (product.hi + reach).max(axis=1)


def _rests(modes: Modes, one: Slopes, other: Slopes, distance: float) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """How far gradients move over the ball, and the part of the rest that is the same for all exchanges."""
    common = common_part(one, other)
    return (one.moves(common), other.moves(common)), _up(modes.slowest * modes.eta * distance)


def _up(x: float) -> float:
    return float(x * (1.0 + 32.0 * UNIT))
