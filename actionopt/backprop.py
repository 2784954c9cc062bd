"""Backpropagation in NumPy: all states and adjoints of a batch, at one point or at all nodes of a trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.ops import NUMPY, Ops
from actionopt.ops.base import Array

if TYPE_CHECKING:
    from actionopt.problem import Problem


@dataclass(frozen=True)
class Adjoints:
    """States, adjoints and gradient at one point.

    Attributes
    ----------
    states : list of arrays (..., B, d_a)
        Outputs z_1 .. z_L of the modules.
    adjoints : list of arrays (..., B, d_a)
        `lam_a = dE/dz_a`, with `lam_L = loss'(z_L)/B` and `lam_{a-1} = A_a^T lam_a`: the multipliers of
        `f_a(z_{a-1}, w_a) - z_a = 0` in the Lagrangian `E + sum lam^T (f - z)`.
    gradient : array (..., n)
        `dE/dw_a = sum_b B_{a,b}^T lam_{a,b} + weight_decay w_a`.
    """

    states: list[np.ndarray]
    adjoints: list[np.ndarray]
    gradient: np.ndarray


def adjoints(problem: Problem, w: Any) -> Adjoints:
    """Backpropagate through the whole chain.

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
    """Weights `(..., n)`, their pieces, one a module, and the states `[z_0, z_1, .., z_L]` they lead to."""

    w: np.ndarray
    pieces: list[np.ndarray]
    states: list[np.ndarray]


def forward_pass(problem: Problem, w: np.ndarray) -> ForwardPass:
    """Evaluate the chain in NumPy at checked weights `(..., n)`."""
    pieces = split_weights(problem, NUMPY, w)
    return ForwardPass(w, pieces, forward_states(problem, NUMPY, pieces))


def adjoints_of(problem: Problem, passed: ForwardPass) -> Adjoints:
    """Backpropagate from a forward pass."""
    states = passed.states
    loss_gradient = problem.loss.gradient(NUMPY, states[-1], problem.target_array)
    all_adjoints, pulled = backward(problem, NUMPY, passed.pieces, states, loss_gradient / problem.samples)
    gradient = np.concatenate(pulled, axis=-1) + problem.weight_decay * passed.w
    return Adjoints(states[1:], all_adjoints, gradient)


def forward_states(problem: Problem, ops: Ops, weights: list[Array]) -> list[Array]:
    """Return `[z_0, z_1, .., z_L]` in the namespace `ops`, for weights `(..., n_a)`, one piece a module."""
    states = [problem.inputs]
    for module, piece in zip(problem.modules, weights, strict=True):
        states.append(module.forward(ops, piece, states[-1]))
    return states


def backward(
    problem: Problem, ops: Ops, weights: list[Array], states: list[Array], adjoint: Array
) -> tuple[list[Array], list[Array]]:
    """Pull the adjoint of the output back: adjoints of z_1 .. z_L and weight adjoints, one a module."""
    all_adjoints, pieces = [], []
    parts = zip(problem.modules, weights, states[:-1], states[1:], strict=True)
    for module, piece, state, out in reversed(list(parts)):
        all_adjoints.append(adjoint)
        weight_adjoint, adjoint = module.vjp(ops, piece, state, out, adjoint)
        pieces.append(weight_adjoint)
    return all_adjoints[::-1], pieces[::-1]


def split_weights(problem: Problem, ops: Ops, w: Array) -> list[Array]:
    """Split weights `(..., n)` of any namespace into one piece a module."""
    return ops.split(w, [module.weight_size for module in problem.modules])
