"""What the multipliers of the program mean, with one sign and one scale, and what forces they stand for.

The Lagrangian is `S_h + lam^T g`: a multiplier is positive at an upper bound and negative at a lower one. Multipliers
of conditions at the stages are divided by the quadrature weight of their stage, so that they converge to functions of
time as the grid is refined; those of conditions at the nodes are impulses.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from actionopt.action.forces import ConstraintForces
from actionopt.action.program.conditions import Conditions
from actionopt.action.program.point_set import PointSet
from actionopt.action.program.stages import StageFunctions
from actionopt.action.program.transcription import Layout
from actionopt.action.scheme import times_of
from actionopt.nlp import NlpSolution
from actionopt.problem import Problem


@dataclass(frozen=True)
class Reader:
    """Reads the multipliers of a solved program, which knows the action divided by `scale`."""

    layout: Layout
    functions: StageFunctions
    conditions: Conditions
    ends: tuple[np.ndarray, np.ndarray]
    lifted: bool
    scale: float

    def multipliers(self, found: NlpSolution) -> dict[str, np.ndarray]:
        """Sort a solution's multipliers.

        Returns
        -------
        dict of arrays
            costates (N+1, n)
                Of the dynamics `w_{k+1} - w_k - sum_q b_q v_q = 0` at the nodes they lead to, and at the first node
                that of the start (zero where it is free): the momentum at the nodes, by the discrete Legendre
                transform. It jumps by the multipliers of bounds and conditions that are active at a node.
            bounds (N+1, n)
                Of the bounds at the nodes, zero where the ends are fixed.
            path (M, k), path_nodes (N+1, k)
                Of the path constraints at the stages and at the nodes, >= 0; only where there are any.
            equality (M, m), equality_points (K, m)
                Of the equalities at the stages, or, where they do not contain v, at the scheme's points.
            start, end (c,)
                Of start_constraint and end_constraint.
            velocity (M, n)
                Of `G u + g = 0`: the gap v - u between velocity and flow; only where u is a variable.
            states, adjoints (M, B, sum of d_a)
                Lifted only, module after module: of the layer equations `f_a - z_a = 0` and of the adjoint equations
                `A_{a+1}^T lam_{a+1} - lam_a = 0`. The latter are the tangents of the states along v - u.
        """
        layout, task = self.layout, self.layout.task
        start = np.zeros(task.size)
        start[layout.fixed_start] = found.lam_g[layout.start]
        sorted_ = {
            "costates": self.scale * np.concatenate([start[None], found.lam_g[layout.gaps]]),
            "bounds": self.scale * found.lam_x[layout.nodes],
        }
        stage = self._of_stages(found)
        own = self.functions.equalities - len(np.flatnonzero(~self.conditions.of_positions[0]))
        sorted_ |= self._of_conditions(found, stage[:, own:])
        sorted_ |= {
            name: self.scale * found.lam_g[rows].ravel() / sizes
            for name, sizes, rows in zip(("start", "end"), self.ends, self._end_rows, strict=True)
            if len(sizes)
        }
        equations = stage[:, :own]
        if self.lifted:
            assert isinstance(task.what, Problem)
            layers = _of_layers(task.what, equations)
            equations = equations[:, : equations.shape[1] - layers[0].size]
            sorted_ |= {"states": self.scale * layers[:, :, 0], "adjoints": layers[:, :, 1]}
        return sorted_ | {"velocity": equations} if equations.shape[1] else sorted_

    def forces(self, found: NlpSolution) -> ConstraintForces:
        """Return what the user's constraints and bounds add to the first-order conditions."""
        layout, conditions = self.layout, self.conditions
        task, scheme = layout.task, layout.task.scheme
        points = layout.points(found.x)
        stage = self._of_stages(found)
        own = self.functions.equalities - len(np.flatnonzero(~conditions.of_positions[0]))
        c = ca.vertcat(*conditions.of_stages)
        symbols = ca.vertcat(conditions.w, conditions.v)
        at = scheme.position @ points, scheme.velocity @ points
        pulled = self.scale * _pull(c, symbols, conditions.t, np.concatenate(at, axis=1), scheme.stages, stage[:, own:])
        intervals, locals_, pushes = [], [], []
        for points_set, rows in zip(layout.sets, layout.points_rows, strict=True):
            where = (layout.to_points(points_set) @ found.x).full().reshape(-1, task.size)
            intervals.append(points_set.interval)
            locals_.append(points_set.local)
            pushes.append(self.scale * points_set.pull(where, found.lam_g[rows]))
        bounds = np.zeros((len(scheme.points), task.size))
        bounds[scheme.nodes] = found.lam_x[layout.nodes]
        inner = np.setdiff1d(np.arange(len(scheme.points)), scheme.nodes)
        bounds[np.ix_(inner, layout.bounded)] = found.lam_g[layout.interior].reshape(len(inner), len(layout.bounded))
        return ConstraintForces(
            force=pulled[:, : task.size],
            momentum=pulled[:, task.size :],
            interval=np.concatenate([np.zeros(0, dtype=int), *intervals]),
            local=np.concatenate([np.zeros(0), *locals_]),
            push=np.concatenate([np.zeros((0, task.size)), *pushes]),
            bounds=self.scale * bounds,
        )

    def _of_stages(self, found: NlpSolution) -> np.ndarray:
        """Multipliers `(M, c)` of all conditions of the stages, as functions of time."""
        intervals, per, width = self.layout.conditions.shape
        conditions = found.lam_g[self.layout.conditions].reshape(intervals * per, width)
        return np.asarray(conditions / self.layout.task.scheme.weights[:, None])

    def _of_conditions(self, found: NlpSolution, stage: np.ndarray) -> dict[str, np.ndarray]:
        """Multipliers of the user's equalities and inequalities, in the user's order."""
        conditions, scheme = self.conditions, self.layout.task.scheme
        equal, bounded = (~of for of in conditions.of_positions)
        m, k = len(equal), len(bounded)
        equality, path = np.zeros((len(stage), m)), np.zeros((len(stage), k))
        split = int(equal.sum())
        equality[:, equal], path[:, bounded] = stage[:, :split], stage[:, split:]
        points, nodes = np.zeros((len(scheme.points), m)), np.zeros((len(scheme.times), k))
        for points_set, rows in zip(self._path_sets, self._path_rows, strict=True):
            found_here = found.lam_g[rows]
            at_node = points_set.local == 0
            if points_set.functions.equalities:
                index = _nearest(scheme.points, times_of(scheme, points_set.interval, points_set.local))
                points[np.ix_(index, np.flatnonzero(~equal))] = found_here
                continue
            columns = np.flatnonzero(~bounded)
            nodes[np.ix_(points_set.interval[at_node], columns)] = found_here[at_node]
            inside, stages = np.flatnonzero(~at_node), times_of(scheme, points_set.interval, points_set.local)
            index = _nearest(scheme.stages, stages[inside])
            here = np.isclose(scheme.stages[index], stages[inside], rtol=0, atol=1e-9 * np.diff(scheme.times).min())
            index, inside = index[here], inside[here]
            path[np.ix_(index, columns)] = found_here[inside] / scheme.weights[index, None]
        equality, points = (self.scale * x / conditions.equality_sizes for x in (equality, points))
        path, nodes = (self.scale * x / conditions.inequality_sizes for x in (path, nodes))
        return self._as_given(equality, points, path, nodes)

    def _as_given(
        self, equality: np.ndarray, points: np.ndarray, path: np.ndarray, nodes: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Undo what sorting did: pairs of inequalities get the parts of their equality's multiplier."""
        conditions = self.conditions
        given = len(conditions.kept) + 2 * len(conditions.pairs)
        of_user = equality.shape[1] - len(conditions.pairs)
        path_all, nodes_all = np.zeros((len(path), given)), np.zeros((len(nodes), given))
        path_all[:, conditions.kept], nodes_all[:, conditions.kept] = path, nodes
        at_nodes = points[self.layout.task.scheme.nodes]
        for i, j, k in conditions.pairs:
            path_all[:, i], path_all[:, j] = np.maximum(equality[:, k], 0.0), np.maximum(-equality[:, k], 0.0)
            nodes_all[:, i], nodes_all[:, j] = np.maximum(at_nodes[:, k], 0.0), np.maximum(-at_nodes[:, k], 0.0)
        out: dict[str, np.ndarray] = {}
        if of_user:
            out |= {"equality": equality[:, :of_user], "equality_points": points[:, :of_user]}
        return out | ({"path": path_all, "path_nodes": nodes_all} if given else {})

    @property
    def _path_sets(self) -> list[PointSet]:
        ends = sum(len(sizes) > 0 for sizes in self.ends)
        return self.layout.sets[: len(self.layout.sets) - ends]

    @property
    def _path_rows(self) -> list[np.ndarray]:
        return self.layout.points_rows[: len(self._path_sets)]

    @property
    def _end_rows(self) -> list[np.ndarray]:
        rows = iter(self.layout.points_rows[len(self._path_sets) :])
        return [next(rows) if len(sizes) else np.zeros(0, dtype=int) for sizes in self.ends]


def _pull(c: ca.SX, x: ca.SX, t: ca.SX, at: np.ndarray, times: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """`mu . dc/dx` at M places, `(M, len(x))`."""
    if not c.numel():
        return np.zeros((len(at), x.numel()))
    multiplier = ca.SX.sym("mu", c.numel())
    slope = ca.densify(ca.gradient(ca.dot(multiplier, c), x))
    pull = ca.Function("pull", [x, t, multiplier], [slope]).map(len(at))
    return np.asarray(pull(at.T, times[None], mu.T).full().T)


def _nearest(grid: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Index of the nearest entry of an increasing grid."""
    right = (
        np.clip(np.searchsorted(grid, times), 1, len(grid) - 1) if len(grid) > 1 else np.zeros(len(times), dtype=int)
    )
    left = np.maximum(right - 1, 0)
    return np.where(abs(grid[left] - times) <= abs(grid[right] - times), left, right)


def _of_layers(problem: Problem, equations: np.ndarray) -> np.ndarray:
    """What belongs to the layers and their adjoints, `(M, B, 2, sum of d_a)`, in the order that FlowStage gives it."""
    width = sum(module.out_size for module in problem.modules)
    return equations[:, -2 * problem.samples * width :].reshape(len(equations), problem.samples, 2, width)
