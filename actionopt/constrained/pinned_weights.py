"""The constrained problem with its weights pinned: the multiplier of the pin is the gradient.

    minimise over w   E(w)   subject to   w - w_fixed = 0,     so that  dE/dw = -multiplier

The states are eliminated (condensed), as for thousands of samples the Jacobian of the lifted equations in the weights
alone would fill gigabytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import casadi as ca
import numpy as np

from actionopt.constrained.graph import SymbolicNetwork
from actionopt.nlp import Derivatives, NlpSolution, NlpSolver, Stages

STAGE_STATES = 64  # weights that fatrop sees as the states of one stage, each stage dense


class PinnedWeights:
    """Energy of pinned weights, built once for any weights; arguments as in `FixedWeights`."""

    def __init__(
        self, graph: SymbolicNetwork, *, solver: str, tol: float, max_iterations: int, options: Mapping[str, Any] | None
    ) -> None:
        began = time.perf_counter()
        problem = graph.problem
        w, fixed = ca.MX.sym("w", problem.size), ca.MX.sym("fixed", problem.size)
        lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", problem.size)
        energy = graph.mean_loss(graph.forward(graph.pieces(w))) + 0.5 * problem.weight_decay * ca.sumsqr(w)
        rest = problem.size % STAGE_STATES
        states = (0, *(STAGE_STATES,) * (problem.size // STAGE_STATES), *(rest,) * bool(rest))
        none = (0,) * len(states)
        identity = ca.MX.eye(problem.size)
        self.nlp = NlpSolver(
            w,
            energy,
            w - fixed,
            fixed,
            solver=solver,
            tol=tol,
            max_iterations=max_iterations,
            options=options,
            stages=Stages(states, none, none),
            # n equations for n unknowns decide every step, so that the n^2 second derivatives of E are not needed
            derivatives=Derivatives(identity, identity, lam_f, lam_g),
        )
        self.nlp.build_time = time.perf_counter() - began  # the expressions included

    def solve(self, w: np.ndarray, scale: float) -> tuple[NlpSolution, np.ndarray]:
        """Solve at `w (n,)`, the tolerance relative to `scale`; return the solution and the multipliers `(n,)`."""
        solution = self.nlp.solve(w, w, scale=scale)
        return solution, solution.lam_g
