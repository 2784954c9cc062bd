"""The quadratic program of a lifted point: equations, bounds, inequalities, few equalities, by Riccati elimination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from actionopt.newton.barrier import Barrier
from actionopt.newton.pairing import factorised
from actionopt.newton.riccati import Stage, Step


class Linearised(Protocol):
    """A chain at one point; see `LiftedNewton` for the symbols."""

    @property
    def energy(self) -> float: ...
    @property
    def gaps(self) -> np.ndarray: ...
    @property
    def conditions(self) -> np.ndarray: ...
    @property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]: ...
    def pull(self, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def pull_conditions(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def push_conditions(self, dw: np.ndarray, dz: np.ndarray) -> np.ndarray: ...
    def adjoints(self, mu: np.ndarray) -> np.ndarray: ...
    def stages(
        self, lam: np.ndarray | None, mu: np.ndarray, sigma: np.ndarray, diagonal: np.ndarray
    ) -> tuple[Sequence[Stage], np.ndarray]: ...
    def rows(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass
class LiftedPoint:
    """Unknowns and multipliers, and the chain there.

    Attributes
    ----------
    w, z, s : arrays (n,), (N,), (m,)
        Weights, states, and what the conditions are to be: slacks of inequalities, the values of equalities.
    lam, mu : arrays (N,), (m,)
    force : array (n,)
        Multipliers of the bounds on the weights.
    """

    w: np.ndarray
    z: np.ndarray
    s: np.ndarray
    lam: np.ndarray
    mu: np.ndarray
    force: np.ndarray
    at: Linearised

    @property
    def x(self) -> np.ndarray:
        return self.w

    @property
    def value(self) -> float:
        return self.at.energy

    @cached_property
    def misses(self) -> np.ndarray:
        """c - s."""
        return self.at.conditions - self.s

    @cached_property
    def violation(self) -> float:
        return float(abs(self.at.gaps).sum() + abs(self.misses).sum())

    @cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of the Lagrangian in weights and states."""
        (to_w, to_z), (r, q) = self.at.pull(self.lam), self.at.slopes
        if len(self.mu):
            more = self.at.pull_conditions(self.mu)
            to_w, to_z = to_w + more[0], to_z + more[1]
        return r + to_w + self.force, q + to_z - self.lam

    @property
    def gradient(self) -> np.ndarray:
        return self.slopes[0]

    def product(self, direction: np.ndarray) -> np.ndarray:
        raise NotImplementedError("the Hessian of a lifted point is that of its stages")


@dataclass
class Direction:
    """A step in all unknowns, and the multipliers at its end."""

    w: np.ndarray
    z: np.ndarray
    s: np.ndarray
    lam: np.ndarray
    mu: np.ndarray


class Quadratic:
    """The quadratic program at a point.

    With slacks s, `c + dc - s - ds = 0`, and Sigma their barrier's diagonal, `mu = Sigma ds + b` at the solution, b the
    barrier's slope, so that `ds = dc + c - s` leaves `dc^T Sigma dc` on the Hessian and `dc^T (Sigma (c - s) + b)` on
    the gradient. Equalities get `penalty/2 |dc + c - s|^2`, which changes no solution and makes the Hessian positive in
    their directions; their multipliers m solve `C X m = -(c - s) - C dx`, X the response to C^T.

    `least` puts the sizes of the distances from bounds in place of the Hessian, and no gradient: the least step.
    """

    def __init__(
        self,
        point: LiftedPoint,
        bounds: Barrier,
        barrier: float,
        penalty: float,
        equal: np.ndarray,
        fixed: np.ndarray,
        least: bool = False,
    ) -> None:
        self.equal, self.fixed, self.point = equal, fixed, point
        at, n, x = point.at, len(point.w), np.concatenate([point.w, point.s])
        if least:
            nearest = np.minimum(np.minimum(x - bounds.low, bounds.high - x), 1.0)
            diagonal, self.own = 1.0 / nearest**2, np.zeros(len(x))
            self.slopes = np.zeros(n), np.zeros(len(point.z))
        else:
            on = barrier > 0.0
            diagonal = bounds.diagonal(x) if on else np.zeros(len(x))
            self.own = barrier * bounds.slope(x) if on else np.zeros(len(x))
            self.slopes = at.slopes
        self.sigma = np.where(self.equal, penalty, diagonal[n:])
        self.stages, self.end = at.stages(None if least else point.lam, point.mu, self.sigma, diagonal[:n])
        if self.fixed.any():
            self.stages = _held(self.stages, self.fixed)
        self.rows = np.flatnonzero(self.equal)

    def factorise(self, shift: float) -> None:
        """Factorise with a shift of the Hessian in weights and states.

        Raises
        ------
        LinAlgError
            If it is not positive on the equations, or not finite.
        """
        self.program = factorised(self.stages, self.end, shift)
        self.response: Step | None = None

    def descent(self, step: Direction) -> float:
        """Return the slope of the objective along a step."""
        n = len(step.w)
        r, q = self.slopes
        return float((r + self.own[:n]) @ step.w + q @ step.z + self.own[n:] @ step.s)

    def solve(self, gaps: np.ndarray, misses: np.ndarray) -> Direction:
        """Return the solution where `f - z` and `c - s` have these values."""
        r, q = self.slopes[0] + self.own[: len(self.fixed)], self.slopes[1]
        if not len(misses):
            found = self.program.solve(gaps, q, np.where(self.fixed, 0.0, r))
            return Direction(found.weights, found.states, misses, found.multipliers, misses)
        at, own, rows = self.point.at, self.own[len(self.fixed) :], self.rows
        more = at.pull_conditions(self.sigma * misses + own)
        found = self._solved(gaps, q + more[1], np.where(self.fixed, 0.0, r + more[0]))
        change = at.push_conditions(found.weights, found.states) + misses
        mu = self.sigma * change + own
        if rows.size:
            mu[rows] = np.linalg.lstsq(self.schur, -change[rows], rcond=1e-13)[0]
            found = _added(found, self.response, mu[rows])  # type: ignore[arg-type]
            change = at.push_conditions(found.weights, found.states) + misses
            mu = np.where(self.equal, mu, self.sigma * change + own)
        return Direction(found.weights, found.states, np.where(self.equal, 0.0, change), found.multipliers, mu)

    def _solved(self, gaps: np.ndarray, q: np.ndarray, r: np.ndarray) -> Step:
        """Solve without the equalities' multipliers; the first time for the response to each of them too."""
        if not self.rows.size or self.response is not None:
            return self.program.solve(gaps, q, r)
        to_w, to_z = self.point.at.rows(self.rows)
        to_w = np.where(self.fixed[:, None], 0.0, to_w)
        both = self.program.solve(
            np.column_stack([gaps, np.zeros_like(to_z)]), np.column_stack([q, to_z]), np.column_stack([r, to_w])
        )
        self.response = Step(both.weights[:, 1:], both.states[:, 1:], both.multipliers[:, 1:])
        self.schur = to_w.T @ self.response.weights + to_z.T @ self.response.states
        return Step(both.weights[:, 0], both.states[:, 0], both.multipliers[:, 0])


def _added(step: Step, response: Step, mu: np.ndarray) -> Step:
    return Step(
        step.weights + response.weights @ mu,
        step.states + response.states @ mu,
        step.multipliers + response.multipliers @ mu,
    )


def _held(stages: Sequence[Stage], fixed: np.ndarray) -> list[Stage]:
    """Return the stages with some weights that do not move."""
    found, start = [], 0
    for stage in stages:
        n = len(stage.ww)
        free = (~fixed[start : start + n]).astype(float)
        ww = stage.ww * np.outer(free, free) + np.diag(1.0 - free)
        found.append(Stage(stage.a, stage.b * free, stage.zz, stage.zw * free, ww))
        start += n
    return found
