"""Long chains of small stages, eliminated two by two: all pairs at once, then Riccati's recursion over what is left.

Two stages z1 = A1 z0 + B1 w1 + c1, z2 = A2 z1 + B2 w2 + c2 are one of controls (w1, w2), the state between them put in:

    A = A2 A1,   B = (A2 B1, B2),   Hzz = Q1 + A1'Q2 A1,   Hzw = (S1 + A1'Q2 B1, A1'S2),
    Hww = ((R1 + B1'Q2 B1, B1'S2), (S2'B1, R2)),   multiplier of the first:  lam1 = Q2 z1 + S2 w2 + q2 + A2'lam2

It is the same program, so that the Cholesky factors exist exactly if they did for the stages; where a stage is a few
numbers, sixty small products in turn cost ten times as much as one call for all.

Source: D. Axehill, Controlling the level of sparsity in MPC, Systems & Control Letters 76 (2015), there with larger
groups; pairs of pairs are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actionopt.newton.riccati import Riccati, Stacked, Stage, Step

MOST = 8  # weights of a stage, and numbers in a state, up to which stages are paired
FEWEST = 8  # stages below which they are not


@dataclass(frozen=True)
class _Level:
    """L stages of one shape and one sample, L even: `a (L, d, d)`, `b (L, d, n)`, and the blocks of the Hessian."""

    a: np.ndarray
    b: np.ndarray
    zz: np.ndarray
    zw: np.ndarray
    ww: np.ndarray

    def paired(self) -> _Level:
        """Return two stages after one another as one."""
        (a1, a2), (b1, b2), (q1, q2), (s1, s2), (r1, r2) = (
            (x[0::2], x[1::2]) for x in (self.a, self.b, self.zz, self.zw, self.ww)
        )
        a1t, b1t = a1.swapaxes(1, 2), b1.swapaxes(1, 2)
        qa, qb = q2 @ a1, q2 @ b1
        corner = b1t @ s2
        n = b1.shape[2]
        ww = np.empty((len(a1), 2 * n, 2 * n))
        ww[:, :n, :n], ww[:, n:, n:] = r1 + b1t @ qb, r2
        ww[:, :n, n:], ww[:, n:, :n] = corner, corner.swapaxes(1, 2)
        return _Level(
            a2 @ a1,
            np.concatenate([a2 @ b1, b2], axis=2),
            q1 + a1t @ qa,
            np.concatenate([s1 + a1t @ qb, a1t @ s2], axis=2),
            ww,
        )

    def constants(self, c: np.ndarray, q: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return c, the slopes q of the states that enter, and r, of the pairs, from `(L, d, K)` and `(L, n, K)`."""
        c1, c2, q1, q2, r1, r2 = c[0::2], c[1::2], q[0::2], q[1::2], r[0::2], r[1::2]
        between = self.zz[1::2] @ c1 + q2
        first = r1 + self.b[0::2].swapaxes(1, 2) @ between
        second = r2 + self.zw[1::2].swapaxes(1, 2) @ c1
        return (
            self.a[1::2] @ c1 + c2,
            q1 + self.a[0::2].swapaxes(1, 2) @ between,
            np.concatenate([first, second], axis=1),
        )

    def unpaired(
        self, c: np.ndarray, q: np.ndarray, before: np.ndarray, step: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return weights, states and multipliers of the stages from those of the pairs."""
        w, z, lam = step
        n = self.b.shape[2]
        w1, w2 = w[:, :n], w[:, n:]
        z1 = self.a[0::2] @ before + self.b[0::2] @ w1 + c[0::2]
        lam1 = self.zz[1::2] @ z1 + self.zw[1::2] @ w2 + q[1::2] + self.a[1::2].swapaxes(1, 2) @ lam
        return _woven(w1, w2), _woven(z1, z), _woven(lam1, lam)


class Paired:
    """The program of `riccati.py`, factorised by pairs; see there for arguments and errors."""

    def __init__(self, stages: Stacked, end: np.ndarray, shift: float = 0.0) -> None:
        arrays = (stages.a, stages.b, stages.zz, stages.zw)
        a, b, zz, zw = (x[:, 0] for x in arrays)
        ww = stages.ww
        self.d, self.n = b.shape[1:]
        if shift:
            zz, ww = zz + shift * np.eye(self.d), ww + shift * np.eye(self.n)
        self.levels: list[_Level] = []
        level = self._padded(_Level(a, b, zz, zw, ww))
        while len(level.a) % 2 == 0 and len(level.a) > 1 and 2 * level.b.shape[2] <= 2 * MOST:
            self.levels.append(level)
            level = level.paired()
        self.left = len(level.a)
        parts = zip(level.a, level.b, level.zz, level.zw, level.ww, strict=True)
        whole = end + shift * np.eye(self.d) if shift else end
        self.riccati = Riccati([Stage(p[0][None], p[1][None], p[2][None], p[3][None], p[4]) for p in parts], whole)

    def _padded(self, level: _Level) -> _Level:
        """Put stages that do nothing in front, up to a number that can be halved often."""
        count, n, halvings = len(level.a), self.n, 0
        while 2 ** (halvings + 1) * n <= 2 * MOST and 2 ** (halvings + 1) <= count:
            halvings += 1
        self.extra = -count % 2**halvings
        if not self.extra:
            return level
        parts = (level.a, level.b, level.zz, level.zw)
        a, b, zz, zw = (np.concatenate([np.zeros((self.extra, *x.shape[1:])), x]) for x in parts)
        free = np.broadcast_to(np.eye(n), (self.extra, n, n))
        return _Level(a, b, zz, zw, np.concatenate([free, level.ww]))

    def solve(self, c: np.ndarray, q: np.ndarray, r: np.ndarray) -> Step:
        """Return the solution, as `Riccati.solve` does."""
        columns = c.shape[1:]
        c, q, r = (
            np.concatenate([np.zeros((self.extra, size, *(columns or (1,)))), x.reshape(-1, size, *(columns or (1,)))])
            for x, size in ((c, self.d), (q, self.d), (r, self.n))
        )
        end, given = q[-1], []
        q = np.concatenate([np.zeros_like(q[:1]), q[:-1]])  # of the states that enter
        for level in self.levels:
            given.append((c, q))
            c, q, r = level.constants(c, q, r)
        flat = [x.reshape(-1, x.shape[2]) for x in (c, np.concatenate([q[1:], end[None]]), r)]
        found = self.riccati.solve(*flat)
        step = tuple(x.reshape(self.left, -1, x.shape[1]) for x in (found.weights, found.states, found.multipliers))
        for level, (c, q) in zip(self.levels[::-1], given[::-1], strict=True):
            before = np.concatenate([np.zeros_like(step[1][:1]), step[1][:-1]])
            step = level.unpaired(c, q, before, step)  # type: ignore[arg-type]
        w, z, lam = (x[self.extra :].reshape(-1, *columns) for x in step)
        return Step(w, z, lam)


def factorised(stages: Sequence[Stage], end: np.ndarray, shift: float = 0.0) -> Riccati | Paired:
    """Factorise by pairs where the stages are many, small, alike and of one sample, else stage by stage."""
    if isinstance(stages, Stacked) and len(stages) >= FEWEST:
        _, samples, after, n = stages.b.shape
        if samples == 1 and 0 < n <= MOST and after == stages.a.shape[-1] <= MOST:
            return Paired(stages, end, shift)
    return Riccati(stages, end, shift)


def _woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the entries of two arrays in turn."""
    found = np.empty((2 * len(first), *first.shape[1:]))
    found[0::2], found[1::2] = first, second
    return found
