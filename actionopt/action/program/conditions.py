"""A user's constraints, sorted by what they depend on.

Conditions that contain the velocity are imposed where the scheme evaluates the Lagrangian, at its stages: pieces have
no single velocity at a node. Conditions on the position alone hold at single points: equalities at the points that
determine the pieces, as many as there are unknowns, inequalities at nodes and stages, and wherever else they are asked
for. Two inequalities that are each other's negatives are one equality, which interior-point methods need to be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from actionopt.action.density.stage_formula import stage_formula
from actionopt.action.program.point_set import PointSet
from actionopt.action.program.stages import symbolic_stages
from actionopt.action.scheme import times_of
from actionopt.action.task import ActionTask


@dataclass(frozen=True)
class Conditions:
    """Expressions of one stage in the symbols w, v `(n,)` and t, each component divided by its size.

    Attributes
    ----------
    equalities, inequalities : SX
        Components `= 0` and `<= 0`.
    equality_sizes, inequality_sizes : arrays
        What each component is divided by: the size of its terms at the guess.
    of_positions : tuple of arrays of bool
        Which equalities and inequalities do not contain v.
    pairs : list of (int, int, int)
        Inequalities i and j of the user that were turned into the equality k: `c_i = -c_j = 0`.
    kept : array of int
        The user's inequality behind each of ours.
    """

    w: ca.SX
    v: ca.SX
    t: ca.SX
    equalities: ca.SX
    inequalities: ca.SX
    equality_sizes: np.ndarray
    inequality_sizes: np.ndarray
    of_positions: tuple[np.ndarray, np.ndarray]
    pairs: list[tuple[int, int, int]]
    kept: np.ndarray

    @property
    def of_stages(self) -> tuple[ca.SX, ca.SX]:
        """Equalities and inequalities that contain v."""
        return _some(self.equalities, ~self.of_positions[0]), _some(self.inequalities, ~self.of_positions[1])

    def point_sets(self, task: ActionTask, more: np.ndarray) -> list[PointSet]:
        """Return the conditions on positions: equalities at the scheme's points, inequalities at nodes and stages.

        Parameters
        ----------
        task : ActionTask
        more : array
            Where else on every interval inequalities are imposed, in (0, 1).
        """
        scheme = task.scheme
        intervals, degree = len(scheme.times) - 1, int(scheme.nodes[1])
        per = len(scheme.stages) // intervals
        length = scheme.times[1] - scheme.times[0]
        stages = (scheme.stages[:per] - scheme.times[0]) / length
        inner = (scheme.points[1:degree] - scheme.times[0]) / length
        sets = []
        equal, bounded = (
            _some(c, of) for c, of in zip((self.equalities, self.inequalities), self.of_positions, strict=True)
        )
        if equal.numel():
            sets.append(self._set(task, equal, ca.SX(0, 1), inner))
        if bounded.numel():
            places = np.unique(np.concatenate([stages[stages < 1.0], more]))
            sets.append(self._set(task, ca.SX(0, 1), bounded, places))
        return sets

    def _set(self, task: ActionTask, equal: ca.SX, bounded: ca.SX, places: np.ndarray) -> PointSet:
        """Conditions at all nodes but those that are given, and at `places` on every interval."""
        scheme = task.scheme
        intervals, local = len(scheme.times) - 1, np.append(0.0, places)
        interval = np.append(np.repeat(np.arange(intervals), len(local)), intervals)
        local = np.append(np.tile(local, intervals), 0.0)
        kept = np.ones(len(interval), dtype=bool)
        kept[0], kept[-1] = np.isnan(task.start).any(), np.isnan(task.end).any()
        interval, local = interval[kept], local[kept]
        time = self.t, times_of(scheme, interval, local)
        functions = symbolic_stages(self.w, ca.SX(0), [equal], [bounded], len(interval), time)
        return PointSet(functions, interval, local)


def _some(c: ca.SX, which: np.ndarray) -> ca.SX:
    return c[np.flatnonzero(which).tolist()] if which.any() else ca.SX(0, 1)


def make_conditions(task: ActionTask, points: np.ndarray) -> Conditions:
    """Sort a task's constraints; `points (K, n)` is the guess, where their sizes are taken.

    Raises
    ------
    InputError
        For a formula that fails on CasADi symbols.
    """
    n = task.size
    w, v, t = ca.SX.sym("w", n), ca.SX.sym("v", n), ca.SX.sym("t")
    equality = _column("equality", task.equality, w, v, t)
    inequality = _column("constraint", task.constraint, w, v, t)
    scheme = task.scheme
    at = scheme.position @ points, scheme.velocity @ points, scheme.stages[:, None]
    pairs = _opposites(inequality, w, v, t)
    paired = [i for pair in pairs for i in pair]
    kept = np.array([i for i in range(inequality.numel()) if i not in paired], dtype=int)
    equality = ca.vertcat(equality, *[inequality[i] for i, _ in pairs])
    first = equality.numel() - len(pairs)
    inequality = inequality[kept.tolist()] if len(kept) else ca.SX(0, 1)
    sizes = [_sizes(c, (w, v, t), at) for c in (equality, inequality)]
    return Conditions(
        w,
        v,
        t,
        equality / ca.DM(sizes[0]),
        inequality / ca.DM(sizes[1]),
        sizes[0],
        sizes[1],
        (_without(equality, v), _without(inequality, v)),
        [(i, j, first + k) for k, (i, j) in enumerate(pairs)],
        kept,
    )


def end_conditions(what: str, formula: Callable[..., Any] | None, w: ca.SX, at: np.ndarray) -> tuple[ca.SX, np.ndarray]:
    """Return the components `= 0` of a condition on one end, divided by their sizes at `at (n,)`, and the sizes."""
    if formula is None:
        return ca.SX(0, 1), np.ones(0)
    c = ca.vec(stage_formula(what, formula, w.T))
    sizes = _sizes(c, (w, ca.SX(0, 1), ca.SX(0, 1)), (at[None], np.zeros((1, 0)), np.zeros((1, 0))))
    return c / ca.DM(sizes), sizes


def _column(what: str, formula: Callable[..., Any] | None, w: ca.SX, v: ca.SX, t: ca.SX) -> ca.SX:
    return ca.SX(0, 1) if formula is None else ca.vec(stage_formula(what, formula, w.T, v.T, t))


def _without(c: ca.SX, v: ca.SX) -> np.ndarray:
    """Which components do not contain v."""
    contains = ca.which_depends(c, v, 1, True) if c.numel() else []
    return ~np.array(contains, dtype=bool)


def _opposites(c: ca.SX, *symbols: ca.SX) -> list[tuple[int, int]]:
    """Pairs of components whose sum vanishes at random places."""
    k = c.numel()
    if k < 2:
        return []
    rng = np.random.default_rng(0)
    evaluate = ca.Function("c", list(symbols), [c])
    values = np.stack(
        [evaluate(*[rng.standard_normal(s.numel()) for s in symbols]).full()[:, 0] for _ in range(5)], axis=-1
    )
    pairs, free = [], list(range(k))
    for i in range(k):
        if i not in free:
            continue
        for j in free:
            if (
                j > i
                and np.isfinite(values[[i, j]]).all()
                and (abs(values[i] + values[j]) <= 1e-13 * abs(values[i])).all()
            ):
                pairs.append((i, j))
                free = [m for m in free if m not in (i, j)]
                break
    return pairs


def _sizes(c: ca.SX, symbols: tuple[ca.SX, ...], at: tuple[np.ndarray, ...]) -> np.ndarray:
    """Largest size of each component's terms over the stages `at`: `sum_j |dc/dxi_j| max |xi_j|`, and c itself."""
    if not c.numel():
        return np.ones(0)
    xi = ca.vertcat(*symbols)
    extent = np.concatenate([abs(part).max(axis=0) for part in at])
    terms = ca.fabs(ca.jacobian(c, xi)) @ ca.DM(extent)
    evaluate = ca.Function("sizes", list(symbols), [ca.densify(ca.fmax(terms, ca.fabs(c)))]).map(len(at[0]))
    sizes = evaluate(*[part.T for part in at]).full()
    largest = np.where(np.isfinite(sizes), sizes, 0.0).max(axis=1)
    return np.where(largest > 0, largest, 1.0)
