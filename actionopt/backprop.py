"""Backpropagation in NumPy: all states and adjoints of a batch, at one point or at all nodes of a trajectory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from actionopt.errors import InputError
from actionopt.network import Network
from actionopt.ops import NUMPY

if TYPE_CHECKING:
    from actionopt.problem import Problem


@dataclass(frozen=True)
class Adjoints:
    """States, adjoints and gradient at one point.

    Attributes
    ----------
    states : list of arrays (..., B, d_k)
        States of the nodes that run a module, in order: of a chain the outputs z_1 .. z_L.
    adjoints : list of arrays (..., B, d_k)
        `lam_k = dE/dz_k`, what its costs and the nodes that take it give: the multipliers of
        `f_k(z_of(k), w_group(k)) - z_k = 0` in the Lagrangian `E + sum lam^T (f - z)`.
    gradient : array (..., n)
        `dE/dw_group = sum over its uses of sum_b B_k^T lam_k + weight_decay w_group`.
    network : Network
    """

    states: list[np.ndarray]
    adjoints: list[np.ndarray]
    gradient: np.ndarray
    network: Network = field(repr=False)

    def state(self, node: Any) -> np.ndarray:
        """Return the state of a node, given as it was written down or by name."""
        index = self.network.index(node)
        inputs = len(self.network.data)
        return self.network.data[index] if index < inputs else self.states[index - inputs]

    def adjoint(self, node: Any) -> np.ndarray:
        """Return the adjoint of a node that runs a module, given as it was written down or by name."""
        place = self.network.index(node)
        index = place - len(self.network.data)
        if index < 0:
            raise InputError(f"{self.network.nodes[place].name!r} holds data, which have no constraint and no adjoint")
        return self.adjoints[index]


def adjoints(problem: Problem, w: Any) -> Adjoints:
    """Backpropagate through the whole network.

    Parameters
    ----------
    problem : Problem
    w : array (..., n)
        Weights; leading axes are the nodes of a trajectory.

    Returns
    -------
    Adjoints

    Raises
    ------
    InputError
        If the weights have the wrong length or are not finite.
    """
    return adjoints_of(problem, forward_pass(problem, problem.check_weights(w)))


@dataclass(frozen=True)
class ForwardPass:
    """Weights `(..., n)`, their pieces, one a group, and the states of all nodes that they lead to."""

    w: np.ndarray
    pieces: list[np.ndarray]
    states: list[np.ndarray]


def forward_pass(problem: Problem, w: np.ndarray) -> ForwardPass:
    """Evaluate the network in NumPy at checked weights `(..., n)`."""
    pieces = problem.network.split(NUMPY, w)
    return ForwardPass(w, pieces, problem.network.forward(NUMPY, pieces))


def adjoints_of(problem: Problem, passed: ForwardPass) -> Adjoints:
    """Backpropagate from a forward pass."""
    network, states = problem.network, passed.states
    sources = {node: slope / network.samples for node, slope in network.slopes(NUMPY, states).items()}
    arrived, pulled = network.backward(NUMPY, passed.pieces, states, sources)
    gradient = NUMPY.concatenate(pulled) + problem.weight_decay * passed.w
    inputs = len(network.data)
    return Adjoints(states[inputs:], cast(list[np.ndarray], arrived[inputs:]), gradient, network)
