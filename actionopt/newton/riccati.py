"""Equality-constrained quadratic programs with the structure of a chain, eliminated stage by stage.

    minimise  sum_a [ 1/2 (z, w)_a . H_a (z, w)_a + q_a . z_{a-1} + r_a . w_a ] + 1/2 z_L . Q z_L + q_L . z_L
    subject to  z_a = A_a z_{a-1} + B_a w_a + c_a,   a = 1 .. L,   z_0 = 0

A state is that of a batch: A_a, and the blocks of H_a in z, are block diagonal over samples; w_a is common to all of
them. The cost-to-go `1/2 z . P z + p . z` is followed back (Riccati recursion): with

    Lam = Hww + B'PB,    G = Hwz + B'PA,    P <- Hzz + A'PA - G' Lam^-1 G,    p <- q + A'(P c + p) - G' k,
    k = Lam^-1 (r + B'(P c + p))

the solution is `w = -(Lam^-1 G z + k)` from the front, and the multipliers of the constraints, written `A z + B w + c -
z_a = 0`, are `lam_a = P_a z_a + p_a`. The Cholesky factors of all Lam exist exactly if the reduced Hessian is positive
definite. Cost O(L (Bd)^2 (n + d)).

Source: J. Rawlings, D. Mayne and M. Diehl, Model Predictive Control, 2nd ed. (2017), section 8.8; the common controls
of a batch are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotrs


@dataclass(frozen=True)
class Stage:
    """One stage of B samples: from d states through n weights to e states.

    Attributes
    ----------
    a : array (B, e, d)
    b : array (B, e, n)
    zz : array (B, d, d)
        Hessian in the states that enter.
    zw : array (B, d, n)
    ww : array (n, n)
    """

    a: np.ndarray
    b: np.ndarray
    zz: np.ndarray
    zw: np.ndarray
    ww: np.ndarray


@dataclass(frozen=True)
class Step:
    """The solution: weights `(n_a,)`, states `(B, d_a)` and multipliers `(B, d_a)`, one a stage."""

    weights: list[np.ndarray]
    states: list[np.ndarray]
    multipliers: list[np.ndarray]


class Riccati:
    """The factorised program.

    Parameters
    ----------
    stages : sequence of Stage
    end : array (B, d, d)
        Q, sample by sample.
    shift : float
        Added to the diagonals of all Hessians, of states and weights.

    Raises
    ------
    LinAlgError
        If the reduced Hessian is not positive definite.
    """

    def __init__(self, stages: Sequence[Stage], end: np.ndarray, shift: float = 0.0) -> None:
        self.stages = stages
        self.costs = [_diagonal(end, shift)]  # P_L .. P_0
        self.factors: list[Any] = []  # of Lam_L .. Lam_1
        self.gains: list[np.ndarray] = []  # G_L .. G_1
        for index in reversed(range(len(stages))):
            self._eliminate(stages[index], shift, first=index == 0)
        for held in (self.costs, self.factors, self.gains):
            held.reverse()

    def _eliminate(self, stage: Stage, shift: float, first: bool) -> None:
        cost = self.costs[-1]
        n = stage.ww.shape[0]
        b = stage.b.reshape(len(cost), n)
        pb = cost @ b
        lam = stage.ww + b.T @ pb
        lam.flat[:: n + 1] += shift
        if not np.isfinite(lam).all():
            raise LinAlgError("the quadratic program is not finite")
        factor = _cholesky(lam) if n else None
        self.factors.append(factor)
        if first:
            self.gains.append(np.zeros((n, 0)))
            return
        gain = stage.zw.reshape(stage.zw.shape[0] * stage.zw.shape[1], n).T + _columns(pb.T, stage.a)
        self.gains.append(gain)
        through = _columns(_columns(cost, stage.a).T, stage.a)
        before = through + _diagonal(stage.zz, shift)
        if factor is not None:
            before -= gain.T @ dpotrs(factor, gain)[0]
        self.costs.append(0.5 * (before + before.T))

    def solve(self, c: Sequence[np.ndarray], q: Sequence[np.ndarray], r: Sequence[np.ndarray]) -> Step:
        """Return the solution for constants `c_a (B, d_a)`, and slopes `q_a (B, d_a)` of z_a, `r_a (n_a,)` of w_a."""
        slope, affine = q[-1].ravel(), []
        slopes = [slope]
        for index in reversed(range(len(self.stages))):
            stage = self.stages[index]
            onward = self.costs[self._cost(index + 1)] @ c[index].ravel() + slope
            per_sample = onward.reshape(stage.a.shape[0], -1, 1)
            k = r[index] + (stage.b.reshape(len(onward), stage.ww.shape[0]).T @ onward)
            if self.factors[index] is not None:
                k = dpotrs(self.factors[index], k)[0]
            affine.append(k)
            if index:
                slope = q[index - 1].ravel() + (stage.a.swapaxes(-1, -2) @ per_sample).ravel() - self.gains[index].T @ k
                slopes.append(slope)
        return self._forward(c, affine[::-1], slopes[::-1])

    def _forward(self, c: Sequence[np.ndarray], affine: list[np.ndarray], slopes: list[np.ndarray]) -> Step:
        weights, states, multipliers = [], [], []
        z = np.zeros((self.stages[0].a.shape[0], self.stages[0].a.shape[2]))
        for index, stage in enumerate(self.stages):
            w = -affine[index]
            if index and self.factors[index] is not None:
                w = w - dpotrs(self.factors[index], self.gains[index] @ z.ravel())[0]
            z = (stage.a @ z[..., None])[..., 0] + stage.b @ w + c[index]
            multiplier = self.costs[self._cost(index + 1)] @ z.ravel() + slopes[index]
            weights.append(w)
            states.append(z)
            multipliers.append(multiplier.reshape(z.shape))
        return Step(weights, states, multipliers)

    def _cost(self, stage: int) -> int:
        """Where P of a stage's end stands: there is none for z_0."""
        return stage - 1


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    """Return the upper factor; LAPACK's own, for SciPy's checks cost as much as a small factorisation."""
    factor, info = dpotrf(matrix)
    if info:
        raise LinAlgError("the reduced Hessian is not positive definite")
    return factor


def _columns(matrix: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return `matrix @ blockdiag(blocks)`: `(m, B e)` times `(B, e, d)`."""
    samples, rows, columns = blocks.shape
    parts = matrix.reshape(len(matrix), samples, rows).swapaxes(0, 1) @ blocks
    return parts.swapaxes(0, 1).reshape(len(matrix), samples * columns)


def _diagonal(blocks: np.ndarray, shift: float) -> np.ndarray:
    """Return blockdiag(blocks) with a shifted diagonal."""
    samples, size, _ = blocks.shape
    full = np.zeros((samples, size, samples, size))
    index = np.arange(samples)
    full[index, :, index, :] = blocks
    matrix = full.reshape(samples * size, samples * size)
    matrix.flat[:: samples * size + 1] += shift
    return matrix
