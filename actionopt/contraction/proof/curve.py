"""A curve through the nodes of a trajectory, and how far it is from the flow: defect and rates, enclosed **[ours]**.

The curve is the cubic through the nodes with the flow's velocities as slopes (Hermite). It is cut into pieces; on one
of length 2 rho around its middle the defect `d = p' - velocity(p)` obeys

    |d| <= |d(0)| + rho |d'(0)| + rho^2 / 2 |d''|,

the first two at the middle, the last over the piece, all by jets in time through the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, derivatives, exact_network, unit_scale
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.outputs import norms_up
from actionopt.ops.base import Array, Ops
from actionopt.ops.interval import INTERVAL
from actionopt.ops.jets import jets_over
from actionopt.ops.rounded import UNIT, Interval, as_interval, middle, point
from actionopt.problem import Problem

BLOCK = 1_000_000  # numbers in the widest array of a block of pieces


@dataclass(frozen=True)
class Curve:
    """The cubics between nodes, each cut into equal pieces.

    Attributes
    ----------
    problem : Problem
    times : array (N+1,)
    nodes : array (N+1, n)
    pieces : int
        Pieces a step.
    """

    problem: Problem
    times: np.ndarray
    nodes: np.ndarray
    pieces: int

    @cached_property
    def coefficients(self) -> list[np.ndarray]:
        """Of each step's cubic in the time since its left node, `(N, n)` each: they define the curve, so are exact."""
        h = np.diff(self.times)[:, None]
        slopes = -self.problem.gradient(self.nodes) / self.problem.mass
        left, right, step = slopes[:-1], slopes[1:], np.diff(self.nodes, axis=0)
        square = (3.0 * step / h - 2.0 * left - right) / h
        cube = (left + right - 2.0 * step / h) / h**2
        return [self.nodes[:-1], left, square, cube]

    @cached_property
    def half(self) -> np.ndarray:
        """Half the length of every piece `(M,)`, rounded up."""
        return np.repeat(np.diff(self.times) / (2.0 * self.pieces), self.pieces) * (1.0 + 4.0 * UNIT)

    @cached_property
    def middles(self) -> np.ndarray:
        """Middle of every piece, in time since the left node, `(M,)`."""
        part = (np.arange(self.pieces) + 0.5) / self.pieces
        return (np.diff(self.times)[:, None] * part).ravel()

    @cached_property
    def spans(self) -> Interval:
        """The piece as times since the left node, `(M,)`, rounded so that pieces cover the step."""
        reach = self.half * (1.0 + 8.0 * UNIT) + 8.0 * UNIT * self.middles
        return point(self.middles) + Interval(-reach, reach)

    def jumps(self) -> np.ndarray:
        """Bound how far the end of each cubic misses its right node, in the norm of the mass `(N,)`."""
        h = point(np.diff(self.times))
        times = h + Interval(-1.0, 1.0) * (UNIT * (abs(self.times[:-1]) + abs(self.times[1:])))
        rest = (self._at(times, 1) - self.nodes[1:]) / point(unit_scale(self.problem))
        return norms_up(rest.magnitude)

    def _at(self, s: Any, pieces: int) -> Any:
        """Evaluate the cubics at times since the left node, `(M,)` or jets of them."""
        a, b, c, d = (np.repeat(x, pieces, axis=0) for x in self.coefficients)
        column = s[:, None] if isinstance(s, Interval) else s
        return ((column * d + c) * column + b) * column + a

    def over(self) -> Interval:
        """Enclose the curve on every piece, `(M, n)`: the value in the middle, and the slope over the piece."""
        ops = jets_over(INTERVAL)
        slope = ops.parts(self._at(ops.dual(self.spans[:, None], np.ones((1, 1))), self.pieces))[1]
        reach = as_interval(slope).magnitude * self.half[:, None] * (1.0 + 16.0 * UNIT)
        reach = reach + 16.0 * UNIT * abs(self.middles[:, None]) * as_interval(slope).magnitude
        return self._at(point(self.middles), self.pieces) + Interval(-reach, reach)

    def defects(self) -> np.ndarray:
        """Bound the defect on every piece, in the norm of the mass, `(M,)`."""
        at = self._defect(point(self.middles))
        within = self._defect(self.spans)
        reach = self.half * (1.0 + 32.0 * UNIT) + 32.0 * UNIT * self.middles
        sizes = [norms_up(x.magnitude) for x in (at[0], at[1], within[2])]
        taylor = (sizes[0] + reach * sizes[1] + 0.5 * reach**2 * sizes[2]) * (1.0 + 32.0 * UNIT)
        return np.fmin(taylor, norms_up(within[0].magnitude))

    def _defect(self, s: Interval) -> list[Interval]:
        """Enclose `p' - velocity(p)` in x with its first two derivatives in time, `(M, n)` each."""
        first = jets_over(INTERVAL)
        second = jets_over(first)
        third = jets_over(second)
        one = np.ones((1, 1))
        time: Array = second.dual(first.dual(s[:, None], one), one)
        p = self._at(time, self.pieces)
        gradient = self._gradient(second, p)
        motion = self._at(third.dual(time, one), self.pieces)
        velocity = third.parts(motion)[1]
        scale = point(unit_scale(self.problem))
        return [
            _order(second, velocity, k, p_shape(p)) / scale + _order(second, gradient, k, p_shape(p)) for k in range(3)
        ]

    def _gradient(self, ops: Ops, w: Array) -> Array:
        """Return the gradient in x `(M, n)` at weights that are jets in time."""
        problem = self.problem
        n, network = problem.size, exact_network(problem)
        outer = jets_over(ops)
        moving = outer.dual(w, np.diag(unit_scale(problem)).reshape(n, 1, n))
        losses = outer.parts(network.values(outer, network.forward(outer, network.split(outer, moving))))[1]
        summed = None if losses is None else ops.transpose(ops.sum(losses))  # (n, M) turned
        scale = unit_scale(problem)
        own = w * (point(scale) * problem.weight_decay) if problem.weight_decay else None
        if summed is None:
            return own if own is not None else w * 0.0
        found = summed / float(problem.samples)
        return found if own is None else found + own

    @cached_property
    def on_curve(self) -> np.ndarray:
        """Lower bounds of the rates on the curve itself, `(M,)`."""
        return np.asarray(least_eigenvalue(self.hessians))

    def rates(self, reach: np.ndarray, pieces: np.ndarray) -> np.ndarray:
        """Bound from below, on some pieces, how fast the flow draws what is within `reach` of the curve to it.

        `pieces` are their numbers, and `reach` is one number each.

        With `y = w - p`, `y.(g(p + y) - g(p))` is `y.H y` for the mean H of the Hessian along the segment, which is the
        one on the curve and half of `|y| T`, T the third derivative around.
        """
        problem = self.problem
        on = self.over()[pieces]
        wide = (reach * ROUNDED)[:, None] * unit_scale(problem)
        around = on + Interval(-wide, wide)
        found = self._derivatives(around, 3)
        first = self.on_curve[pieces]
        bend = _spreads(found[3])
        mean = first - 0.5 * reach * ROUNDED * bend * (1.0 + 8.0 * UNIT)
        direct = np.asarray(least_eigenvalue(found[2]))
        best = np.fmax(np.where(np.isnan(mean), -np.inf, mean), direct)
        return best - abs(best) * 2.0**-46

    def _derivatives(self, boxes: Interval, order: int) -> list[Interval]:
        """Enclose derivatives of the energy over boxes `(M, n)`, a block of them at a time."""
        each = self.problem.size**order * self.problem.samples
        step = max(1, BLOCK // each)
        parts = [derivatives(self.problem, boxes[k : k + step], order) for k in range(0, len(boxes), step)]
        return [
            Interval(np.concatenate([x.lo for x in same]), np.concatenate([x.hi for x in same]))
            for same in zip(*parts, strict=True)
        ]

    @cached_property
    def hessians(self) -> Interval:
        """The Hessian in x along every piece, `(M, n, n)`: its middle, and its change along the curve."""
        on = self.over()
        _, _, direct, third = self._derivatives(on, 3)
        centre = self._at(point(self.middles), self.pieces)
        here = self._derivatives(centre, 2)[2]
        moved = (on - centre) / point(unit_scale(self.problem))
        change = INTERVAL.matmul(third, moved[:, None, :, None])[..., 0]
        taylor = here + change
        return Interval(np.fmax(direct.lo, taylor.lo), np.fmin(direct.hi, taylor.hi))


def p_shape(p: Array) -> tuple[int, ...]:
    """Shape at the bottom of nested duals."""
    while hasattr(p, "value"):
        p = p.value
    return tuple(p.shape)


def _order(ops: Any, x: Array, k: int, shape: tuple[int, ...]) -> Interval:
    """Take the k-th derivative in time out of two nested duals."""
    for level in (2, 1):
        value, tangent = ops.parts(x)
        x, ops = (tangent if level <= k else value), ops.inner
        if x is None:
            return point(np.zeros(shape))
    return as_interval(x).map(lambda a: np.broadcast_to(a, shape))


def _spreads(third: Interval) -> np.ndarray:
    """Bound `T[x, v, v]` over unit x and v for a stack of tensors, `(M,)`."""
    n = third.shape[-1]
    centre, radius = middle(third)
    found = np.zeros(third.shape[0])
    for part in (centre, radius):
        tall = point(np.ascontiguousarray(np.broadcast_to(part, third.shape)).reshape(-1, n * n, n))
        square = greatest_eigenvalue(INTERVAL.matmul(INTERVAL.transpose(tall), tall))
        found = found + np.sqrt(np.maximum(square, 0.0)) * (1.0 + 4.0 * UNIT)
    return np.where(np.isnan(found), np.inf, found)
