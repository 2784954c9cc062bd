"""The discrete action as a nonlinear program with the stages of an optimal-control problem.

The state of interval k is the node w_k; its controls are the displacements `u_kq = weight_kq v_kq` at the stages, whose
multipliers are of the size of momenta on every grid, and what the formulation adds to them (e_kq). As the pieces are
polynomials, nodes, interior points and stage positions are linear in these:

    w_{k+1} = w_k + sum_q b_kq v_kq,        (P X)_kq = w_k + sum_r a_kqr v_kr

with coefficients read off the scheme (for "midpoint": `w_{k+1} = w_k + h v_k` and `w_k + h/2 v_k`). Variables are
ordered `w_0, u_0, e_0, w_1, ..., w_N`; constraints by interval: the gap `w_{k+1} - w_k - sum b v`, then at k = 0 the
fixed start, the conditions of the stages, the bounds of interior points, and the conditions on positions alone (point
sets); last the fixed end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
from scipy.sparse import coo_array, csc_array

from actionopt.action.density.end_cost import EndCost
from actionopt.action.program.point_set import PointSet
from actionopt.action.program.rows import Rows
from actionopt.action.program.stages import StageFunctions
from actionopt.action.task import ActionTask
from actionopt.nlp import Stages

Entries = tuple[np.ndarray, np.ndarray, Any]  # rows, columns, values


class Layout:
    """Where everything lies in the variables x and the constraints g.

    Attributes
    ----------
    size, constraints : int
        Numbers of variables and constraints.
    nodes : array (N+1, n) of int
        Where the nodes lie in x.
    controls : array (N, S, n) of int
        Where the displacements `weight v` of the S stages of each interval lie in x.
    extras : array (N, S, e) of int
        Where the stages' further unknowns lie in x.
    gaps, start, end : arrays (N, n), (fixed,), (fixed,) of int
        Where the dynamics and the fixed ends lie in g.
    conditions : array (N, S, c) of int
        Where the stages' constraints lie in g.
    interior : array (N, S - 1, bounded) of int
        Where the bounds of the interior points lie in g.
    points_rows : list of arrays (C, c) of int
        Where the conditions of each point set lie in g.
    reach : array (N, S, S)
        `X_j - w_k = sum_q reach[k, j, q] v_kq` for the interval's points after the first; the last is the next node.
    positions : array (N, S, S)
        The same for the stages: the coefficients a.
    """

    def __init__(self, task: ActionTask, extra: int, conditions: int, sets: Sequence[PointSet] = ()) -> None:
        scheme, n = task.scheme, task.size
        intervals = len(scheme.times) - 1
        per = len(scheme.stages) // intervals
        self.task, self.sets = task, list(sets)
        self.fixed_start, self.fixed = np.flatnonzero(~np.isnan(task.start)), np.flatnonzero(~np.isnan(task.end))
        self.bounded = np.flatnonzero(np.isfinite(task.lower) | np.isfinite(task.upper)) if per > 1 else np.arange(0)
        self.reach, self.positions = _interval_laws(task)
        self.weights = scheme.weights.reshape(intervals, per)
        controls = per * (n + extra)
        base = np.arange(intervals)[:, None, None] * (n + controls)
        self.nodes = np.arange(intervals + 1)[:, None] * (n + controls) + np.arange(n)
        self.controls = base + n + np.arange(per * n).reshape(per, n)
        self.extras = base + n + per * n + np.arange(per * extra).reshape(per, extra)
        self.size = intervals * (n + controls) + n

        rows, all_intervals = Rows(intervals + 1, n), np.arange(intervals)
        start = rows.take(np.array([0]), len(self.fixed_start))
        stage_rows = rows.take(np.repeat(all_intervals, per), conditions)
        inner = rows.take(np.repeat(all_intervals, per - 1), len(self.bounded))
        of_sets = [rows.take(points.interval, points.conditions) for points in self.sets]
        end = rows.take(np.array([intervals]), len(self.fixed))
        self.gaps, self.start, self.end = rows.gaps, rows.of(start)[0], rows.of(end)[0]
        self.conditions = rows.of(stage_rows).reshape(intervals, per, conditions)
        self.interior = rows.of(inner).reshape(intervals, per - 1, len(self.bounded))
        self.points_rows = [rows.of(block) for block in of_sets]
        self.constraints = rows.total
        self.stages = Stages(
            states=(n,) * (intervals + 1),
            controls=(controls,) * intervals + (0,),
            constraints=tuple(int(count) for count in rows.counts),
        )

    @cached_property
    def to_stages(self) -> ca.DM:
        """The constant matrix that takes x to the variables (w, v, e) of all stages, stage after stage."""
        intervals, per, n = self.controls.shape
        extra = self.extras.shape[-1]
        rows = np.arange(intervals * per * (2 * n + extra)).reshape(intervals, per, 2 * n + extra)
        w, v, e = rows[..., :n], rows[..., n : 2 * n], rows[..., 2 * n :]
        own = (w, np.broadcast_to(self.nodes[:-1, None], w.shape), 1.0)
        moved = (w[:, :, None], self.controls[:, None], (self.positions / self.weights[:, None])[..., None])
        velocity = (v, self.controls, 1.0 / self.weights[..., None])
        entries: list[Entries] = [own, moved, velocity, (e, self.extras, 1.0)]
        return _sparse(entries, (rows.size, self.size))

    def to_points(self, points: PointSet) -> ca.DM:
        """The constant matrix that takes x to the positions of a point set, one after the other."""
        n = self.nodes.shape[1]
        rows = np.arange(len(points.interval) * n).reshape(-1, n)
        entries: list[Entries] = [(rows, self.nodes[points.interval], 1.0)]
        inside = np.flatnonzero(points.local > 0)
        if len(inside):
            k = points.interval[inside]
            laws = np.einsum("cj,cjq->cq", points.laws(self.task.scheme)[inside, 1:], self.reach[k]) / self.weights[k]
            entries.append((rows[inside][:, None], self.controls[k], laws[..., None]))
        return _sparse(entries, (rows.size, self.size))

    @cached_property
    def linear(self) -> ca.DM:
        """The constant part of the constraints' Jacobian: gaps, ends and interior points."""
        interior, reach = self.controls[..., self.bounded], self.reach / self.weights[:, None]
        entries: list[Entries] = [
            (self.gaps, self.nodes[1:], 1.0),
            (self.gaps, self.nodes[:-1], -1.0),
            (self.gaps[:, None], self.controls, -reach[:, -1, :, None]),
            (self.start, self.nodes[0][self.fixed_start], 1.0),
            (self.interior, self.nodes[:-1, None][..., self.bounded], 1.0),
            (self.interior[:, :, None], interior[:, None], reach[:, :-1, :, None]),
            (self.end, self.nodes[-1][self.fixed], 1.0),
        ]
        return _sparse(entries, (self.constraints, self.size))

    def place(self, rows: np.ndarray) -> ca.DM:
        """The constant matrix of zeros and ones that puts conditions, one after the other, into g."""
        flat = rows.ravel()
        return _sparse([(flat, np.arange(flat.size), 1.0)], (self.constraints, flat.size))

    def bounds(self, inequalities: int) -> dict[str, np.ndarray]:
        """Lower and upper bounds of x and of g: `lbx`, `ubx`, `lbg`, `ubg`."""
        task = self.task
        lbx, ubx = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        lbx[self.nodes], ubx[self.nodes] = task.lower, task.upper
        for fixed in (self.nodes[0][self.fixed_start], self.nodes[-1][self.fixed]):
            lbx[fixed], ubx[fixed] = -np.inf, np.inf
        lbg, ubg = np.zeros(self.constraints), np.zeros(self.constraints)
        lbg[self.start] = ubg[self.start] = task.start[self.fixed_start]
        lbg[self.end] = ubg[self.end] = task.end[self.fixed]
        lbg[self.interior], ubg[self.interior] = task.lower[self.bounded], task.upper[self.bounded]
        lbg[self.conditions[..., self.conditions.shape[-1] - inequalities :]] = -np.inf
        for points, rows in zip(self.sets, self.points_rows, strict=True):
            lbg[rows[:, points.functions.equalities :]] = -np.inf
        return {"lbx": lbx, "ubx": ubx, "lbg": lbg, "ubg": ubg}

    def variables(self, points: np.ndarray, extra: np.ndarray) -> np.ndarray:
        """Gather x from the scheme's points `(K, n)` and the stages' further unknowns `(M, e)`."""
        x = np.empty(self.size)
        x[self.nodes] = points[self.task.scheme.nodes]
        velocities = (self.task.scheme.velocity @ points).reshape(self.controls.shape)
        x[self.controls] = velocities * self.weights[..., None]
        x[self.extras] = extra.reshape(self.extras.shape)
        return x

    def points(self, x: np.ndarray) -> np.ndarray:
        """Return the scheme's points `(K, n)` that x stands for; fixed entries are exact."""
        task = self.task
        velocities = x[self.controls] / self.weights[..., None]
        nodes, moved = x[self.nodes], np.einsum("kjq,kqi->kji", self.reach, velocities)
        points = np.empty((len(task.scheme.points), task.size))
        inner = nodes[:-1, None] + moved
        inner[:, -1] = nodes[1:]
        points[0], points[1:] = nodes[0], inner.reshape(-1, task.size)
        points[0, self.fixed_start] = task.start[self.fixed_start]
        points[-1, self.fixed] = task.end[self.fixed]
        return points


def transcribe(
    layout: Layout, functions: StageFunctions, end_cost: EndCost | None = None, scale: float = 1.0
) -> dict[str, ca.MX]:
    """Return the program and its derivatives as expressions.

    Parameters
    ----------
    layout : Layout
    functions : StageFunctions
        Density and conditions of the stages.
    end_cost : EndCost, optional
    scale : float
        What the end cost is divided by, as the density is already.

    Returns
    -------
    dict
        `x`, `f`, `g`, multipliers `lam_f`, `lam_g`, and under CasADi's names `grad_f_x`, `jac_g_x` and
        `hess_gamma_x_x` (gamma is the Lagrangian `lam_f f + lam_g . g`).
    """
    weights = ca.DM(layout.task.scheme.weights)
    x = ca.MX.sym("x", layout.size)
    lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", layout.constraints)
    linear, to_stages = layout.linear, layout.to_stages
    xi = ca.reshape(to_stages @ x, functions.variables, weights.numel())
    stages = _Conditions(functions, to_stages, layout.place(layout.conditions), xi)
    parts = [stages]
    for points, rows in zip(layout.sets, layout.points_rows, strict=True):
        to_points = layout.to_points(points)
        at = ca.reshape(to_points @ x, layout.nodes.shape[1], len(points.interval))
        parts.append(_Conditions(points.functions, to_points, layout.place(rows), at))
    objective = ca.vec(stages.density).T @ weights
    slopes = functions.slopes(xi) * ca.repmat(weights.T, functions.variables, 1)
    gradient = to_stages.T @ ca.vec(slopes)
    jacobian = ca.MX(linear)
    g = linear @ x
    hessian = stages.hessian(lam_f * weights.T, lam_g)
    for part in parts:
        g = g + part.values
        if part.functions.jacobian_pattern.nnz():
            jacobian = jacobian + part.jacobian
        if part is not stages:
            hessian = hessian + part.hessian(ca.MX.zeros(1, part.at.shape[1]), lam_g)
    if end_cost is not None:
        n = layout.nodes.shape[1]
        last = _sparse([(np.arange(n), layout.nodes[-1], 1.0)], (n, layout.size))
        value, slope, curvature = (part / scale for part in end_cost.function(last @ x))
        objective, gradient = objective + value, gradient + last.T @ slope
        hessian = hessian + last.T @ (lam_f * curvature) @ last
    return {
        "x": x,
        "lam_f": lam_f,
        "lam_g": lam_g,
        "f": objective,
        # plugins take vectors for dense: an entry that its pattern lacks (the last node's slope) would shift the others
        "g": ca.densify(g),
        "grad_f_x": ca.densify(gradient),
        "jac_g_x": jacobian,
        "hess_gamma_x_x": hessian,
    }


class _Conditions:
    """The conditions of one kind of stage function, as rows of g."""

    def __init__(self, functions: StageFunctions, to: ca.DM, place: ca.DM, at: ca.MX) -> None:
        self.functions, self.to, self.place, self.at = functions, to, place, at
        self.density, self.conditions = functions.value(at)

    @property
    def values(self) -> ca.MX:
        return self.place @ ca.vec(self.conditions)

    @property
    def jacobian(self) -> ca.MX:
        nonzeros, pattern = self.functions.jacobian(self.at), self.functions.jacobian_pattern
        return self.place @ _block_diagonal(nonzeros, pattern, self.at.shape[1]) @ self.to

    def hessian(self, factor: ca.MX, lam_g: ca.MX) -> ca.MX:
        multipliers = ca.reshape(self.place.T @ lam_g, self.conditions.shape[0], self.at.shape[1])
        nonzeros, pattern = self.functions.hessian(self.at, factor, multipliers), self.functions.hessian_pattern
        return self.to.T @ _block_diagonal(nonzeros, pattern, self.at.shape[1]) @ self.to


def _block_diagonal(nonzeros: ca.MX, pattern: ca.Sparsity, stages: int) -> ca.MX:
    """Lay the nonzeros of each stage's block, a column a stage, into one block-diagonal matrix."""
    return ca.sparsity_cast(ca.vec(nonzeros), ca.diagcat(*[pattern] * stages))


def _interval_laws(task: ActionTask) -> tuple[np.ndarray, np.ndarray]:
    """Points after the first and stage positions of every interval, less its first node, as matrices on velocities."""
    scheme = task.scheme
    intervals = len(scheme.times) - 1
    per, degree = len(scheme.stages) // intervals, (len(scheme.points) - 1) // intervals
    velocity = scheme.velocity.data.reshape(intervals, per, degree + 1)[..., 1:]
    position = scheme.position.data.reshape(intervals, per, degree + 1)[..., 1:]
    reach = np.linalg.inv(velocity)
    return reach, position @ reach


def _sparse(entries: list[Entries], shape: tuple[int, int]) -> ca.DM:
    """Gather entries (rows, columns, values), each broadcast to one shape, in a sparse matrix."""
    flat = [[part.ravel() for part in np.broadcast_arrays(*entry)] for entry in entries]
    rows, columns, values = (np.concatenate(parts) for parts in zip(*flat, strict=True))
    matrix = csc_array(coo_array((values, (rows, columns)), shape=shape))
    matrix.sort_indices()
    pattern = ca.Sparsity(*shape, matrix.indptr.tolist(), matrix.indices.tolist())
    return ca.DM(pattern, matrix.data)
