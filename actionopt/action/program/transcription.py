"""The discrete action as a nonlinear program with the stages of an optimal-control problem.

The state of interval k is the node w_k, its controls are the velocities v_kq at the stages and what the formulation
adds to them (e_kq). As the pieces are polynomials, nodes, interior points and stage positions are linear in these:

    w_{k+1} = w_k + sum_q b_kq v_kq,        (P X)_kq = w_k + sum_r a_kqr v_kr

with coefficients read off the scheme (for "midpoint": `w_{k+1} = w_k + h v_k` and `w_k + h/2 v_k`). Variables are
ordered `w_0, v_0, e_0, w_1, ..., w_N`; constraints by interval: the gap `w_{k+1} - w_k - sum b v`, at k = 0 the start,
then the constraints of the stages and the bounds of interior points; last the fixed end.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
from scipy.sparse import coo_array, csc_array

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
    velocities : array (N, S, n) of int
        Where the velocities of the S stages of each interval lie in x.
    extras : array (N, S, e) of int
        Where the stages' further unknowns lie in x.
    gaps, start, end : arrays (N, n), (n,), (fixed,) of int
        Where the dynamics and the fixed ends lie in g.
    conditions : array (N, S, c) of int
        Where the stages' constraints lie in g.
    interior : array (N, S - 1, bounded) of int
        Where the bounds of the interior points lie in g.
    reach : array (N, S, S)
        `X_j - w_k = sum_q reach[k, j, q] v_kq` for the interval's points after the first; the last is the next node.
    positions : array (N, S, S)
        The same for the stages: the coefficients a.
    """

    def __init__(self, task: ActionTask, extra: int, conditions: int) -> None:
        scheme, n = task.scheme, task.size
        intervals = len(scheme.times) - 1
        per = len(scheme.stages) // intervals
        self.task, self.fixed = task, np.flatnonzero(~np.isnan(task.end))
        self.bounded = np.flatnonzero(np.isfinite(task.lower) | np.isfinite(task.upper)) if per > 1 else np.arange(0)
        self.reach, self.positions = _interval_laws(task)
        controls = per * (n + extra)
        base = np.arange(intervals)[:, None, None] * (n + controls)
        self.nodes = np.arange(intervals + 1)[:, None] * (n + controls) + np.arange(n)
        self.velocities = base + n + np.arange(per * n).reshape(per, n)
        self.extras = base + n + per * n + np.arange(per * extra).reshape(per, extra)
        self.size = intervals * (n + controls) + n

        own = per * conditions + (per - 1) * len(self.bounded)
        row = np.arange(intervals) * (n + own) + n * (np.arange(intervals) > 0)
        self.gaps = row[:, None] + np.arange(n)
        self.gaps[0] = np.arange(n)
        self.start = n + np.arange(n)
        first = row[:, None, None] + n
        first[0] = 2 * n
        self.conditions = first + np.arange(per * conditions).reshape(per, conditions)
        self.interior = (
            first + per * conditions + np.arange((per - 1) * len(self.bounded)).reshape(per - 1, len(self.bounded))
        )
        self.constraints = n + intervals * (n + own) + len(self.fixed)
        self.end = self.constraints - len(self.fixed) + np.arange(len(self.fixed))
        self.stages = Stages(
            states=(n,) * (intervals + 1),
            controls=(controls,) * intervals + (0,),
            constraints=(n + own,) + (own,) * (intervals - 1) + (len(self.fixed),),
        )

    @cached_property
    def to_stages(self) -> ca.DM:
        """The constant matrix that takes x to the variables (w, v, e) of all stages, stage after stage."""
        intervals, per, n = self.velocities.shape
        extra = self.extras.shape[-1]
        rows = np.arange(intervals * per * (2 * n + extra)).reshape(intervals, per, 2 * n + extra)
        w, v, e = rows[..., :n], rows[..., n : 2 * n], rows[..., 2 * n :]
        own = (w, np.broadcast_to(self.nodes[:-1, None], w.shape), 1.0)
        moved = (w[:, :, None], self.velocities[:, None], self.positions[..., None])
        entries: list[Entries] = [own, moved, (v, self.velocities, 1.0), (e, self.extras, 1.0)]
        return _sparse(entries, (rows.size, self.size))

    @cached_property
    def linear(self) -> ca.DM:
        """The constant part of the constraints' Jacobian: gaps, ends and interior points."""
        interior = self.velocities[..., self.bounded]
        entries: list[Entries] = [
            (self.gaps, self.nodes[1:], 1.0),
            (self.gaps, self.nodes[:-1], -1.0),
            (self.gaps[:, None], self.velocities, -self.reach[:, -1, :, None]),
            (self.start, self.nodes[0], 1.0),
            (self.interior, self.nodes[:-1, None][..., self.bounded], 1.0),
            (self.interior[:, :, None], interior[:, None], self.reach[:, :-1, :, None]),
            (self.end, self.nodes[-1][self.fixed], 1.0),
        ]
        return _sparse(entries, (self.constraints, self.size))

    @cached_property
    def from_conditions(self) -> ca.DM:
        """The constant matrix of zeros and ones that puts the stages' constraints, stage after stage, into g."""
        rows = self.conditions.ravel()
        return _sparse([(rows, np.arange(rows.size), 1.0)], (self.constraints, rows.size))

    def bounds(self, inequalities: int) -> dict[str, np.ndarray]:
        """Lower and upper bounds of x and of g: `lbx`, `ubx`, `lbg`, `ubg`."""
        task = self.task
        lbx, ubx = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        lbx[self.nodes[1:]], ubx[self.nodes[1:]] = task.lower, task.upper
        lbx[self.nodes[-1][self.fixed]], ubx[self.nodes[-1][self.fixed]] = -np.inf, np.inf
        lbg, ubg = np.zeros(self.constraints), np.zeros(self.constraints)
        lbg[self.start] = ubg[self.start] = task.start
        lbg[self.end] = ubg[self.end] = task.end[self.fixed]
        lbg[self.interior], ubg[self.interior] = task.lower[self.bounded], task.upper[self.bounded]
        lbg[self.conditions[..., self.conditions.shape[-1] - inequalities :]] = -np.inf
        return {"lbx": lbx, "ubx": ubx, "lbg": lbg, "ubg": ubg}

    def variables(self, points: np.ndarray, extra: np.ndarray) -> np.ndarray:
        """Gather x from the scheme's points `(K, n)` and the stages' further unknowns `(M, e)`."""
        x = np.empty(self.size)
        x[self.nodes] = points[self.task.scheme.nodes]
        x[self.velocities] = (self.task.scheme.velocity @ points).reshape(self.velocities.shape)
        x[self.extras] = extra.reshape(self.extras.shape)
        return x

    def points(self, x: np.ndarray) -> np.ndarray:
        """Return the scheme's points `(K, n)` that x stands for; fixed entries are exact."""
        task = self.task
        nodes, moved = x[self.nodes], np.einsum("kjq,kqi->kji", self.reach, x[self.velocities])
        points = np.empty((len(task.scheme.points), task.size))
        inner = nodes[:-1, None] + moved
        inner[:, -1] = nodes[1:]
        points[0], points[1:] = task.start, inner.reshape(-1, task.size)
        points[-1, self.fixed] = task.end[self.fixed]
        return points


def transcribe(layout: Layout, functions: StageFunctions) -> dict[str, ca.MX]:
    """Return the program and its derivatives as expressions.

    Returns
    -------
    dict
        `x`, `p` (empty), `f`, `g`, multipliers `lam_f`, `lam_g`, and under CasADi's names `grad_f_x`, `jac_g_x`,
        `grad_gamma_x` and `hess_gamma_x_x` (gamma is the Lagrangian `lam_f f + lam_g . g`).
    """
    weights = ca.DM(layout.task.scheme.weights)
    stages = weights.numel()
    x, p = ca.MX.sym("x", layout.size), ca.MX.sym("p", 0)
    lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", layout.constraints)
    to_stages, place, linear = layout.to_stages, layout.from_conditions, layout.linear
    xi = ca.reshape(to_stages @ x, functions.variables, stages)
    density, conditions = functions.value(xi)
    gradient = to_stages.T @ ca.vec(functions.slopes(xi) * ca.repmat(weights.T, functions.variables, 1))
    jacobian = ca.MX(linear)
    if functions.jacobian_pattern.nnz():
        blocks = _block_diagonal(functions.jacobian(xi), functions.jacobian_pattern, stages)
        jacobian = jacobian + place @ blocks @ to_stages
    multipliers = ca.reshape(place.T @ lam_g, conditions.shape[0], stages)
    curvature = functions.hessian(xi, lam_f * weights.T, multipliers)
    hessian = to_stages.T @ _block_diagonal(curvature, functions.hessian_pattern, stages) @ to_stages
    return {
        "x": x,
        "p": p,
        "lam_f": lam_f,
        "lam_g": lam_g,
        "f": ca.vec(density).T @ weights,
        # plugins take vectors for dense: an entry that its pattern lacks (the last node's slope) would shift the others
        "g": ca.densify(linear @ x + place @ ca.vec(conditions)),
        "grad_f_x": ca.densify(gradient),
        "jac_g_x": jacobian,
        "grad_gamma_x": ca.densify(lam_f * gradient + jacobian.T @ lam_g),
        "grad_gamma_p": ca.MX(0, 1),
        "hess_gamma_x_x": hessian,
        "triu_hess_gamma_x_x": ca.triu(hessian),
    }


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
