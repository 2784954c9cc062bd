"""The constrained problem with its weights fixed: square, with one solution, whose multipliers are the adjoints.

    minimise over z   scale E   subject to   f_a(z_{a-1,b}, w_a) - z_{a,b} = 0   for all modules a and samples b

Samples do not know each other here: one function of a sample's whole chain is mapped over the batch. For fatrop the
chains follow one another as one optimal-control problem of `L B` stages without controls.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import casadi as ca
import numpy as np

from actionopt.constrained.derivatives import block_diagonal
from actionopt.constrained.graph import (
    module_functions,
    multiplier_sign,
    offsets,
    sample_loss,
    state_sizes,
    weight_sizes,
)
from actionopt.nlp import Derivatives, NlpSolution, NlpSolver, Stages
from actionopt.problem import Problem
from actionopt.symbolic import over_samples


class FixedWeights:
    """The layer equations of a problem as constraints, built once for any weights.

    Parameters
    ----------
    problem : Problem
    solver, tol, max_iterations, options
        As in `NlpSolver`.
    """

    def __init__(
        self, problem: Problem, *, solver: str, tol: float, max_iterations: int, options: Mapping[str, Any] | None
    ) -> None:
        began = time.perf_counter()
        self.problem = problem
        self.sizes = state_sizes(problem)
        self.sign = multiplier_sign(solver)
        samples, depth = problem.samples, sum(self.sizes)
        states_of_stages = (0, *self.sizes * samples)
        none = (0,) * len(states_of_stages)
        chain = _SampleChain(problem, self.sign)

        x = ca.MX.sym("x", depth * samples)
        w, scale = ca.MX.sym("w", problem.size), ca.MX.sym("scale")
        lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", depth * samples)
        states, multipliers = (ca.reshape(v, depth, samples) for v in (x, lam_g))
        inputs, targets = ca.DM(problem.inputs.T), ca.DM(problem.target_array.T)

        g = ca.vec(over_samples(chain.equations, samples, [2])(states, inputs, w))
        losses = over_samples(chain.loss, samples, [])(states[depth - self.sizes[-1] :, :], targets)
        jacobian = over_samples(chain.jacobian, samples, [2])(states, inputs, w)
        weight = lam_f * scale / samples
        hessian = over_samples(chain.hessian, samples, [2, 5])(states, inputs, w, targets, multipliers, weight)
        self.nlp = NlpSolver(
            x,
            scale * ca.sum2(losses) / samples,
            g,
            ca.vertcat(w, scale),
            solver=solver,
            tol=tol,
            max_iterations=max_iterations,
            options=options,
            stages=Stages(states_of_stages, none, none),
            derivatives=Derivatives(block_diagonal(jacobian, samples), block_diagonal(hessian, samples), lam_f, lam_g),
        )
        self.nlp.build_time = time.perf_counter() - began  # the expressions included

    def solve(self, w: np.ndarray, states: list[np.ndarray], scale: float) -> tuple[NlpSolution, list[np.ndarray]]:
        """Solve from states `(B, d_a)`, one array a module; return the solution and the multipliers, laid out alike.

        `scale > 0` multiplies the energy, so that tolerances mean the same for every problem; the multipliers are
        those of E itself.
        """
        solution = self.nlp.solve(np.concatenate(states, axis=1).reshape(-1), np.append(w, scale))
        batch = (self.sign * solution.lam_g / scale).reshape(self.problem.samples, -1)
        return solution, np.split(batch, offsets(self.sizes)[1:-1], axis=1)


class _SampleChain:
    """Functions of one sample: the states of its whole chain (D,), its input, all weights."""

    def __init__(self, problem: Problem, sign: int) -> None:
        sizes = state_sizes(problem)
        z, w = ca.MX.sym("z", sum(sizes)), ca.MX.sym("w", problem.size)
        x = ca.MX.sym("x", problem.inputs.shape[1])
        target = ca.MX.sym("target", problem.target_array.shape[1])
        lam, weight = ca.MX.sym("lam", sum(sizes)), ca.MX.sym("weight")
        states = ca.vertsplit(z, offsets(sizes))
        weights = ca.vertsplit(w, offsets(weight_sizes(problem)))
        parts = zip(module_functions(problem), [x, *states[:-1]], weights, strict=True)
        equations = sign * (ca.vertcat(*[f(before, piece) for f, before, piece in parts]) - z)
        self.loss = sample_loss(problem)
        lagrangian = weight * self.loss(states[-1], target) + ca.dot(lam, equations)
        self.equations = ca.Function("equations", [z, x, w], [equations])
        self.jacobian = ca.Function("jacobian", [z, x, w], [ca.jacobian(equations, z)])
        self.hessian = ca.Function("hessian", [z, x, w, target, lam, weight], [ca.hessian(lagrangian, z)[0]])
