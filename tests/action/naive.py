"""The gradient flow's metric, gradient and Lagrangian formed densely with CasADi: slow, short, independent."""

from __future__ import annotations

import inspect
from typing import Any

import casadi as ca
import numpy as np

import actionopt as ao
from actionopt.ops import CASADI
from actionopt.symbolic import loss_function, module_function


class NaiveFlow:
    """`g (n,)` and `G (n, n)` of a problem at given weights, from Jacobians of the whole chain, sample by sample."""

    def __init__(self, problem: ao.Problem, metric: str) -> None:
        self.problem, self.metric = problem, metric
        w = ca.SX.sym("w", problem.size)
        z = x = ca.SX.sym("x", problem.inputs.shape[1])
        for module, piece in zip(problem.modules, problem.slices, strict=True):
            z = module_function(module)(z, w[piece])
        target = ca.SX.sym("t", problem.target_array.shape[1])
        y = ca.SX.sym("y", z.shape[0])
        value = loss_function(problem.loss, z.shape[0], target.shape[0])(y, target)
        loss = ca.Function("loss", [y, target], [value])(z, target)
        self.sample = ca.Function(
            "sample",
            [x, target, w],
            [ca.jacobian(z, w), self._output(y, target, value)(z, target), ca.gradient(loss, w)],
        )

    def _output(self, y: Any, target: Any, value: Any) -> ca.Function:
        choice: Any = self.problem.output_metric
        if choice is None:
            matrix = ca.SX.zeros(y.shape[0], y.shape[0])
        elif choice == "euclidean":
            matrix = ca.SX.eye(y.shape[0])
        elif choice == "fisher":
            matrix = ca.hessian(value, y)[0]
        else:
            assert len(inspect.signature(choice).parameters) == 3
            rows = ca.vertcat(*choice(CASADI, y.T, target.T))
            matrix = rows.T @ rows
        return ca.Function("output", [y, target], [matrix])

    def at(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return g and G."""
        problem = self.problem
        g, metric = problem.weight_decay * w, np.diag(problem.mass)
        for x, target in zip(problem.inputs, problem.target_array, strict=True):
            jacobian, output, slope = (out.full() for out in self.sample(x, target, w))
            pulled = jacobian.T @ output @ jacobian / problem.samples
            g = g + slope[:, 0] / problem.samples
            metric = metric + {"joint": pulled, "layerwise": self._diagonal(pulled), "euclidean": 0.0}[self.metric]
        return g, metric

    def _diagonal(self, matrix: np.ndarray) -> np.ndarray:
        out = np.zeros_like(matrix)
        for piece in self.problem.slices:
            out[piece, piece] = matrix[piece, piece]
        return out

    def value(self, w: np.ndarray, v: np.ndarray) -> float:
        """Return `l = 1/2 |v + G^{-1} g|^2_G`."""
        g, metric = self.at(w)
        residual = v + np.linalg.solve(metric, g)
        return float(0.5 * residual @ metric @ residual)
