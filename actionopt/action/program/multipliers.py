"""What the multipliers of the program mean, with one sign and one scale.

The Lagrangian is `S_h + lam^T g`: a multiplier is positive at an upper bound and negative at a lower one. Multipliers
of conditions at the stages are divided by the quadrature weight of their stage, so that they converge to functions of
time as the grid is refined.
"""

from __future__ import annotations

import numpy as np

from actionopt.action.program.stages import StageFunctions
from actionopt.action.program.transcription import Layout
from actionopt.nlp import NlpSolution
from actionopt.problem import Problem


def multipliers(
    layout: Layout, functions: StageFunctions, found: NlpSolution, *, lifted: bool
) -> dict[str, np.ndarray]:
    """Sort a solution's multipliers.

    Returns
    -------
    dict of arrays
        costates (N+1, n)
            Of the dynamics `w_{k+1} - w_k - sum_q b_q v_q = 0` at the nodes they lead to, and at the first node that
            of the start: the momentum p = dl/dv at the nodes, by the discrete Legendre transform. It jumps by the
            multiplier of a bound that is active at a node.
        bounds (N+1, n)
            Of the bounds at the nodes, zero at the start and where the end is fixed.
        path (M, k)
            Of the path constraints, >= 0; only where there are any.
        velocity (M, n)
            Of `G u + g = 0`: the gap v - u between velocity and flow; only where u is a variable.
        states, adjoints (M, B, sum of d_a)
            Lifted only, module after module: of the layer equations `f_a - z_a = 0` and of the adjoint equations
            `A_{a+1}^T lam_{a+1} - lam_a = 0`. The latter are the tangents of the states along v - u.
    """
    intervals, per, width = layout.conditions.shape
    conditions = found.lam_g[layout.conditions].reshape(intervals * per, width)
    conditions = conditions / layout.task.scheme.weights[:, None]
    sorted_ = {
        "costates": np.concatenate([found.lam_g[layout.start][None], found.lam_g[layout.gaps]]),
        "bounds": found.lam_x[layout.nodes],
    }
    if functions.inequalities:
        sorted_["path"] = conditions[:, functions.equalities :]
    equations = conditions[:, : functions.equalities]
    if lifted:
        assert isinstance(layout.task.what, Problem)
        layers = _of_layers(layout.task.what, equations)
        equations = equations[:, : equations.shape[1] - layers[0].size]
        sorted_ |= {"states": layers[:, :, 0], "adjoints": layers[:, :, 1]}
    return sorted_ | {"velocity": equations} if equations.shape[1] else sorted_


def _of_layers(problem: Problem, equations: np.ndarray) -> np.ndarray:
    """What belongs to the layers and their adjoints, `(M, B, 2, sum of d_a)`, in the order that FlowStage gives it."""
    width = sum(module.out_size for module in problem.modules)
    return equations[:, -2 * problem.samples * width :].reshape(len(equations), problem.samples, 2, width)
