"""The constrained problem with its weights fixed: square, with one solution, whose multipliers are the adjoints.

    minimise over z   E   subject to   f_k(z_of(k), w_group(k)) - z_k = 0   for all nodes and samples

Samples do not know each other here. For fatrop they follow one another as one optimal-control problem whose stages lie
between the cuts of the network's order, without controls but for states that stay inside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from actionopt.constrained.graph import SymbolicNetwork, multiplier_sign
from actionopt.constrained.lifted import LiftedProgram
from actionopt.constrained.training import check_stages
from actionopt.nlp import NlpSolution, NlpSolver


class FixedWeights:
    """The equations of a network as constraints, built once for any weights.

    Parameters
    ----------
    graph : SymbolicNetwork
    solver, tol, max_iterations, options
        As in `NlpSolver`.
    """

    def __init__(
        self, graph: SymbolicNetwork, *, solver: str, tol: float, max_iterations: int, options: Mapping[str, Any] | None
    ) -> None:
        began = time.perf_counter()
        self.program = program = LiftedProgram(graph, multiplier_sign(solver), fixed=True)
        if solver == "fatrop":
            check_stages(program.layout.stages, math.inf)
        self.nlp = NlpSolver(
            program.x,
            program.energy,
            program.equations,
            program.p,
            solver=solver,
            tol=tol,
            max_iterations=max_iterations,
            options=options,
            stages=program.layout.stages,
            derivatives=program.derivatives,
        )
        self.nlp.build_time = time.perf_counter() - began  # the expressions included

    def solve(self, w: np.ndarray, states: list[np.ndarray], scale: float) -> tuple[NlpSolution, list[np.ndarray]]:
        """Solve from states `(B, d_k)`, one array a node; return the solution and the multipliers, laid out alike.

        `scale > 0` is the size of the adjoints, which the tolerance is relative to.
        """
        sizes = np.ones(self.program.layout.rows)
        for places, state in zip(self.program.layout.equations, states, strict=True):
            sizes[places] = max(1.0, float(abs(state).max(initial=0.0)))
        solution = self.nlp.solve(self.program.point(w, states), w, scale=scale, sizes=sizes)
        return solution, self.program.multipliers(solution.lam_g)
