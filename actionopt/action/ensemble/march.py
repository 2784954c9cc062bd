"""Marching the implicit flow equations of many trajectories at once.

The equations of one interval are solved for all trajectories together, by Newton's method with a Jacobian each that is
kept while it serves; residuals and Jacobians have an axis of trajectories in front. What one of them cannot solve so,
at a kink of relu or where a Newton step has to be damped, it takes by itself, as `march` would: no other one sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actionopt.action.density.local_model import LocalModel
from actionopt.action.explicit import INTERRUPTED
from actionopt.action.kinks import sides, sides_of_all
from actionopt.action.march import (
    MAX_ITERATIONS,
    MAX_JACOBIANS,
    NEARLY,
    NEGLIGIBLE,
    ROUNDING,
    SLOW,
    STALLED,
    Marcher,
    residual_scale,
    stage_jacobians,
)
from actionopt.action.scheme import Scheme, laws
from actionopt.ops import NUMPY

DIGITS = 12  # of where a polynomial is continued, so that even steps are the same
JACOBIAN_NUMBERS = 400_000  # numbers in the widest array of the Jacobians that are formed together


@dataclass
class Courses:
    """How far many trajectories came.

    Attributes
    ----------
    points : array (S, K, n)
        Values at the scheme's points; beyond what was reached they mean nothing.
    reached : array (S,) of int
        Intervals of the scheme that were taken.
    failures : list of str or None
        What stopped each.
    stats, errors : lists
        As those of `March`.
    energy : array (S, N+1) or None
        At the nodes, where it was computed on the way.
    """

    points: np.ndarray
    reached: np.ndarray
    failures: list[str | None]
    stats: list[dict[str, Any]]
    errors: list[dict[int, np.ndarray]]
    energy: np.ndarray | None = field(default=None)


def march_all(
    model: LocalModel, scheme: Scheme, starts: np.ndarray, *, block: int, tol: float, tick: Callable[[], None]
) -> Courses:
    """Solve the stage equations of every interval in turn, from `starts (S, n)`, evaluating `block` stages together."""
    count, intervals = len(starts), len(scheme.times) - 1
    stages, degree = len(scheme.stages) // intervals, len(scheme.points[1:]) // intervals
    positions, velocities = (m.data.reshape(intervals, stages, -1) for m in (scheme.position, scheme.velocity))
    points = np.repeat(starts[:, None], len(scheme.points), axis=1)
    equations = _Equations(model, starts, block, tol)
    alone = [Marcher(model, start, tol) for start in starts]
    smooth = not sides(model.problem, starts[0]).size
    courses = Courses(points, np.zeros(count, dtype=int), [None] * count, [], [one.errors for one in alone])
    slopes = np.zeros_like(starts)

    def advance(k: int, going: np.ndarray) -> None:
        columns = slice(k * degree, (k + 1) * degree + 1)
        offsets = scheme.points[columns][1:, None] - scheme.points[columns][0]
        first = points[going, k * degree]
        linear = first[:, None] + offsets * slopes[going, None]
        guess = linear if k == 0 else continued(scheme, k) @ points[going, (k - 1) * degree : k * degree + 1]
        found, solved = equations.solve(going, positions[k], velocities[k], first, guess)
        if not smooth:
            before = sides_of_all(model.problem, first)
            for ends in (linear[:, -1], found[:, -1]):
                solved = solved & ~_crossed(model, before, ends)
        for i in np.flatnonzero(~solved):
            part = alone[going[i]].advance(k, positions[k], velocities[k], first[i], offsets, linear[i])
            if isinstance(part, str):
                courses.failures[going[i]] = part
            else:
                found[i], solved[i] = part, True
        points[going, k * degree + 1 : (k + 1) * degree + 1] = found
        slopes[going] = np.einsum("p,spn->sn", velocities[k][-1], points[going, columns])
        courses.reached[going[solved]] = k + 1

    for k in range(intervals):
        going = np.flatnonzero(courses.reached == k)
        if not going.size:
            break
        try:
            advance(k, going)
        except KeyboardInterrupt:
            for s in np.flatnonzero(courses.reached == k):
                courses.failures[s] = courses.failures[s] or INTERRUPTED
            break
        tick()
    courses.stats = [equations.stats(s) | _added(equations.stats(s), one.stats) for s, one in enumerate(alone)]
    return courses


def continued(scheme: Scheme, k: int) -> np.ndarray:
    """Return how the points of interval k - 1 give, by their polynomial, those of interval k after its first."""
    degree = int(scheme.nodes[1])
    before, after = (scheme.points[i * degree : (i + 1) * degree + 1] for i in (k - 1, k))
    length = before[-1] - before[0]
    local = ((x - before[0]) / length for x in (before, after[1:]))
    return laws(*(tuple(x.round(DIGITS).tolist()) for x in local))[0]


def _crossed(model: LocalModel, before: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether each trajectory crosses a kink up to its end; where an end is not finite, it does."""
    finite = np.isfinite(ends).all(axis=-1)
    after = sides_of_all(model.problem, np.where(finite[:, None], ends, 0.0))
    return np.asarray(~finite | (after != before).any(axis=-1))


def _added(ours: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    return {name: value + ours.get(name, 0) for name, value in theirs.items()}


class _Equations:
    """Newton's method for the stage equations of one interval of many trajectories; Jacobians outlive the interval."""

    def __init__(self, model: LocalModel, starts: np.ndarray, block: int, tol: float) -> None:
        self.model, self.tol = model, tol
        self.block = block
        self.scale = np.array([residual_scale(model, start) for start in starts])
        self.reach = abs(starts).max(axis=-1, initial=0.0)
        self.iterations, self.jacobians = (np.zeros(len(starts), dtype=int) for _ in range(2))
        self._inverse = np.zeros((len(starts), 0, 0))
        self._held = np.zeros(len(starts), dtype=bool)
        self._velocity = np.empty(0)

    def stats(self, s: int) -> dict[str, int]:
        """How many Newton steps and Jacobians one trajectory took."""
        return {"iterations": int(self.iterations[s]), "jacobians": int(self.jacobians[s])}

    def solve(
        self, who: np.ndarray, position: np.ndarray, velocity: np.ndarray, first: np.ndarray, guess: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the interval's points `(A, degree, n)` of trajectories `who (A,)`, and which of them are solved."""
        interval = _Intervals(self.model, position, velocity, first, self.block)
        if self._velocity.shape != velocity.shape or not np.allclose(self._velocity, velocity):
            self._held[:], self._velocity = False, velocity
        best, residual = guess.copy(), interval.residual(guess, np.arange(len(who)))
        size = _sizes(residual) / self.scale[who]
        active, fresh = np.isfinite(size), np.zeros(len(who), dtype=bool)
        formed = np.zeros(len(who), dtype=int)
        for _ in range(MAX_ITERATIONS):
            active &= size > ROUNDING
            self._renew(interval, who, best, active, fresh, formed)
            on = np.flatnonzero(active)
            if not on.size:
                break
            step = self._apply(who[on], residual[on])
            self.iterations[who[on]] += 1
            trial = best[on] - step
            trial_residual = interval.residual(trial, on)
            after, before = _sizes(trial_residual) / self.scale[who[on]], size[on]
            better, slow = after < before, after > SLOW * before
            still = ~better & (_sizes(step) <= NEGLIGIBLE * (self.reach[who[on]] + _sizes(best[on])))
            damped = ~better & ~still & fresh[on] & (before > self.tol)  # for `march` to solve
            moved = on[better]
            best[moved], residual[moved], size[moved] = trial[better], trial_residual[better], after[better]
            size[on[still]] = np.minimum(size[on[still]], self.tol)
            fresh[moved] = False
            rounded = (after > STALLED * before) | (slow & (size[on] <= NEARLY))
            done = still | damped | (rounded & (size[on] <= self.tol))
            active[on[done]] = False
            self._held[who[on[slow & ~done]]] = False
        return best, size <= self.tol

    def _renew(
        self,
        interval: _Intervals,
        who: np.ndarray,
        best: np.ndarray,
        active: np.ndarray,
        fresh: np.ndarray,
        formed: np.ndarray,
    ) -> None:
        """Form Jacobians where none is held; a trajectory that asks for too many, or whose is not finite, is left."""
        wanting = np.flatnonzero(active & ~self._held[who])
        formed[wanting] += 1
        active[wanting[formed[wanting] > MAX_JACOBIANS]] = False
        wanting = wanting[formed[wanting] <= MAX_JACOBIANS]
        if not wanting.size:
            return
        if (on := np.flatnonzero(active)).size <= interval.together(best):  # the others' cost next to nothing
            wanting = on
        unknowns = best[0].size
        if self._inverse.shape[-1] != unknowns:
            self._inverse = np.zeros((len(self._held), unknowns, unknowns))
        for cut, inverses in interval.inverses(best, wanting):
            self._inverse[who[cut]] = inverses
        finite = np.isfinite(self._inverse[who[wanting]]).all(axis=(-1, -2))
        active[wanting[~finite]] = False
        self._held[who[wanting]] = finite
        fresh[wanting] = True
        self.jacobians[who[wanting]] += 1

    def _apply(self, who: np.ndarray, residual: np.ndarray) -> np.ndarray:
        inverse = self._inverse if len(who) == len(self._inverse) else self._inverse[who]
        return (inverse @ residual.reshape(len(who), -1, 1)).reshape(residual.shape)


class _Intervals:
    """The stage equations of one interval of many trajectories, as functions of the points `(A, degree, n)`."""

    def __init__(
        self, model: LocalModel, position: np.ndarray, velocity: np.ndarray, first: np.ndarray, block: int
    ) -> None:
        self.model, self.block = model, max(1, block // len(position))
        self.position, self.velocity = position[:, 1:], velocity[:, 1:]
        self.starts = position[:, :1] * first[:, None], velocity[:, :1] * first[:, None]

    def stages(self, unknowns: np.ndarray, on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position and velocity at the stages of the trajectories `on`."""
        return self.starts[0][on] + self.position @ unknowns, self.starts[1][on] + self.velocity @ unknowns

    def residual(self, unknowns: np.ndarray, on: np.ndarray) -> np.ndarray:
        """`G v + g` at the stages, `(A, stages, n)`; infinite where it overflows."""
        w, v = self.stages(unknowns, on)
        residual = np.empty_like(w)
        with np.errstate(all="ignore"):
            for first in range(0, len(w), self.block):
                cut = slice(first, first + self.block)
                flat = (x[cut].reshape(-1, x.shape[-1]) for x in (w, v))
                residual[cut] = self.model.momentum(NUMPY, *flat).reshape(residual[cut].shape)
        finite = np.isfinite(residual).all(axis=(-1, -2))
        return residual if finite.all() else np.where(finite[:, None, None], residual, np.inf)

    def together(self, unknowns: np.ndarray) -> int:
        """How many Jacobians to form at once."""
        problem = self.model.problem
        each = problem.numbers * len(problem.modules) * unknowns[0].size
        return max(1, JACOBIAN_NUMBERS // each)

    def inverses(self, unknowns: np.ndarray, on: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield trajectories and their inverse Jacobians, NaN where there is none, block by block."""
        block = self.together(unknowns)
        for start in range(0, len(on), block):
            cut = on[start : start + block]
            w, v = self.stages(unknowns[cut], cut)
            yield cut, _inverses(stage_jacobians(self.model, w, v, self.position, self.velocity))


def _inverses(matrices: np.ndarray) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):
            return np.linalg.inv(matrices)
    except np.linalg.LinAlgError:  # one of them is singular
        if len(matrices) == 1:
            return np.full_like(matrices, np.nan)
        return np.concatenate([_inverses(matrix[None]) for matrix in matrices])


def _sizes(values: np.ndarray) -> np.ndarray:
    """Largest entry of each trajectory's part."""
    return np.asarray(abs(values).max(axis=(-1, -2), initial=0.0))
