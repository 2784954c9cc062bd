"""The energy of a problem as a function to minimise: one forward pass a point, Hessian products recorded once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from actionopt.backprop import ForwardPass, forward_pass, pulled_back, walked
from actionopt.ops import NUMPY, LinearProgram
from actionopt.ops.linear import recording
from actionopt.problem import Problem

RECORD, DUALS = recording(NUMPY)


class Energy:
    """`E(w) / scale` of a problem; called with weights `(n,)` it gives an `EnergyPoint`.

    Parameters
    ----------
    problem : Problem
    scale : float
        What E is divided by, so that solvers see numbers of order one whatever the loss is measured in.
    """

    def __init__(self, problem: Problem, scale: float = 1.0) -> None:
        self.problem = problem
        self.scale = scale
        self.evaluations = 0

    def __call__(self, w: np.ndarray) -> EnergyPoint:
        self.evaluations += 1
        return EnergyPoint(self, w)


class EnergyPoint:
    """E over its scale at weights `x (n,)`: value, gradient and Hessian products.

    Attributes
    ----------
    x : array (n,)
    value : float
    pieces, states : list of arrays
        Weights and states of the nodes of `problem.stacked`.
    """

    def __init__(self, energy: Energy, w: np.ndarray) -> None:
        problem = energy.problem
        self.energy = energy
        self.x = w
        network, self.pieces, self.states = walked(problem, w)
        losses = network.values(NUMPY, self.states)
        self.value = float(losses.mean() + 0.5 * problem.weight_decay * (w @ w)) / energy.scale

    @cached_property
    def gradient(self) -> np.ndarray:
        _, pulled = pulled_back(self.energy.problem.stacked, self.pieces, self.states)
        return (NUMPY.concatenate(pulled) + self.energy.problem.weight_decay * self.x) / self.energy.scale

    @property
    def passed(self) -> ForwardPass:
        """The forward pass with the states of all modules."""
        problem = self.energy.problem
        if problem.stacked is problem.network:
            return ForwardPass(self.x, self.pieces, self.states)
        return forward_pass(problem, self.x)

    def product(self, direction: np.ndarray) -> np.ndarray:
        """Return the Hessian times `direction (..., n)`."""
        problem, scale = self.energy.problem, self.energy.scale
        return (self._curved(direction)[0] + problem.weight_decay * direction) / scale

    @cached_property
    def _curved(self) -> LinearProgram:
        """The change of the gradient along a direction: a reverse pass on duals whose tangent is recorded."""
        network = self.energy.problem.stacked
        direction = RECORD.variable(self.x.shape)
        pieces = network.split(DUALS, DUALS.dual(self.x, direction))
        states = network.forward(DUALS, pieces)
        sources = {node: slope * (1.0 / network.samples) for node, slope in network.slopes(DUALS, states).items()}
        pulled = network.backward(DUALS, pieces, states, sources)[1]
        tangent = DUALS.parts(DUALS.concatenate(pulled))[1]
        return LinearProgram([direction], [direction * 0.0 if tangent is None else tangent])
