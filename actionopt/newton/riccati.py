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
from itertools import pairwise
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
class Stacked(Sequence[Stage]):
    """Stages of one shape, each array with an axis for them in front."""

    a: np.ndarray
    b: np.ndarray
    zz: np.ndarray
    zw: np.ndarray
    ww: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, index: Any) -> Any:
        return Stage(self.a[index], self.b[index], self.zz[index], self.zw[index], self.ww[index])


@dataclass(frozen=True)
class Step:
    """The solution: weights `(n,)`, states and multipliers `(N,)`, stage after stage; or a column a right-hand side."""

    weights: np.ndarray
    states: np.ndarray
    multipliers: np.ndarray


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
        self.samples = len(end)
        self.a = [_block(stage.a) for stage in stages]
        self.b = [_rows(stage.b) for stage in stages]
        self.at_weights = _cuts([b.shape[1] for b in self.b])
        self.at_states = _cuts([len(b) for b in self.b])
        self.costs: list[Any] = [_diagonal(end, shift)]  # P_L .. P_1
        self.factors: list[Any] = []  # of Lam_L .. Lam_1
        self.slopes: list[Any] = []  # G_L .. G_2
        self.gains: list[Any] = []  # Lam^-1 G
        for index in reversed(range(len(stages))):
            self._eliminate(stages[index], index, shift)
        for held in (self.costs, self.factors, self.slopes, self.gains):
            held.reverse()

    def _eliminate(self, stage: Stage, index: int, shift: float) -> None:
        cost, a, b = self.costs[-1], self.a[index], self.b[index]
        n = b.shape[1]
        pb = cost @ b
        lam = stage.ww + b.T @ pb
        if shift:
            lam.flat[:: n + 1] += shift
        if not np.isfinite(lam).all():
            raise LinAlgError("the quadratic program is not finite")
        factor = _cholesky(lam) if n else None
        self.factors.append(factor)
        if index == 0:
            return
        slope = _rows(stage.zw).T + _columns(pb.T, a)
        gain = slope if factor is None else dpotrs(factor, slope)[0]
        self.slopes.append(slope)
        self.gains.append(gain)
        before = _columns(_columns(cost, a).T, a) + _diagonal(stage.zz, shift) - slope.T @ gain
        self.costs.append(0.5 * (before + before.T))

    def solve(self, c: np.ndarray, q: np.ndarray, r: np.ndarray) -> Step:
        """Return the solution for constants c and slopes q `(N,)`, of all states, and slopes r `(n,)` of all weights.

        Matrices `(N, K)` and `(n, K)` are K right-hand sides at once.
        """
        slope, affine, slopes = q[self.at_states[-1]], [], []
        for index in reversed(range(len(self.a))):
            slopes.append(slope)
            b = self.b[index]
            onward = self.costs[index] @ c[self.at_states[index]] + slope
            k = r[self.at_weights[index]] + b.T @ onward
            affine.append(dpotrs(self.factors[index], k)[0] if b.shape[1] else k)
            if index:
                pulled = _transposed_times(self.a[index], onward)
                slope = q[self.at_states[index - 1]] + pulled - self.gains[index - 1].T @ k
        return self._forward(c, affine[::-1], slopes[::-1])

    def _forward(self, c: np.ndarray, affine: list[np.ndarray], slopes: list[np.ndarray]) -> Step:
        weights, states, multipliers = [], [], []
        z: Any = None
        for index, b in enumerate(self.b):
            w = -affine[index] if z is None else -(affine[index] + self.gains[index - 1] @ z)
            after = b @ w + c[self.at_states[index]]
            z = after if z is None else after + _times(self.a[index], z)
            weights.append(w)
            states.append(z)
            multipliers.append(self.costs[index] @ z + slopes[index])
        return Step(*(np.concatenate(parts) for parts in (weights, states, multipliers)))


def _cuts(sizes: Sequence[int]) -> list[slice]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _rows(blocks: np.ndarray) -> np.ndarray:
    """Return blocks `(B, e, n)` one below the other."""
    samples, rows, columns = blocks.shape
    return blocks.reshape(samples * rows, columns)


def _block(blocks: np.ndarray) -> np.ndarray:
    """Return one sample's block as a matrix: a batch of one is most of the time nothing but calls."""
    return blocks[0] if len(blocks) == 1 else blocks


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    """Return the upper factor; LAPACK's own, for SciPy's checks cost as much as a small factorisation."""
    factor, info = dpotrf(matrix)
    if info:
        raise LinAlgError("the reduced Hessian is not positive definite")
    return factor


def _columns(matrix: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return `matrix @ blockdiag(blocks)`: `(m, B e)` times `(B, e, d)`, or `(e, d)` for one sample."""
    if blocks.ndim == 2:
        return matrix @ blocks
    samples, rows, columns = blocks.shape
    parts = matrix.reshape(len(matrix), samples, rows).swapaxes(0, 1) @ blocks
    return parts.swapaxes(0, 1).reshape(len(matrix), samples * columns)


def _times(blocks: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return `blockdiag(blocks) @ x` for `x (B d,)` or `(B d, K)`."""
    if blocks.ndim == 2:
        return blocks @ x
    samples, rows, columns = blocks.shape
    return (blocks @ x.reshape(samples, columns, -1)).reshape(samples * rows, *x.shape[1:])


def _transposed_times(blocks: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _times(blocks.swapaxes(-1, -2), x)


def _diagonal(blocks: np.ndarray, shift: float) -> np.ndarray:
    """Return blockdiag(blocks) with a shifted diagonal."""
    samples, size, _ = blocks.shape
    if samples == 1:
        matrix = blocks[0].copy() if shift else blocks[0]
    else:
        full = np.zeros((samples, size, samples, size))
        index = np.arange(samples)
        full[index, :, index, :] = blocks
        matrix = full.reshape(samples * size, samples * size)
    if shift:
        matrix.flat[:: samples * size + 1] += shift
    return matrix
