"""Backpropagation at the states that a solver found, with the multipliers of constraints as sources beside the costs.

    lam_k = dE/dz_k + sum_children A^T lam_child + (dc/dz_k)^T mu,      0 = dE/dw + (dc/dw)^T mu + nu

States simulated again from the weights may lie far from the solver's own, where a system is unstable: multipliers are
compared at the solver's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actionopt.constrained.constraint import PlacedConstraint
from actionopt.ops import NUMPY
from actionopt.problem import Problem


@dataclass(frozen=True)
class Backpropagated:
    """Adjoints and slopes of the Lagrangian at given weights and states.

    Attributes
    ----------
    adjoints : list of arrays (B, d_k)
        One a node that runs a module.
    gradient : array (n,)
        d(E + mu^T c)/dw.
    """

    adjoints: list[np.ndarray]
    gradient: np.ndarray


def backpropagate(
    problem: Problem,
    w: np.ndarray,
    states: Sequence[np.ndarray],
    constraints: Sequence[PlacedConstraint] = (),
    multipliers: Sequence[np.ndarray] = (),
) -> Backpropagated:
    """Backpropagate at weights `(n,)` and states `(B, d_k)`, one array a node that runs a module."""
    network = problem.network
    first = len(network.data)
    everywhere = [*network.data, *states]
    pieces = network.split(NUMPY, w)
    sources = {node: slope / network.samples for node, slope in network.slopes(NUMPY, everywhere).items()}
    on_weights = np.zeros(problem.size)
    for constraint, mu in zip(constraints, multipliers, strict=True):
        condition = constraint.condition
        if condition.node is None:
            piece = network.groups[condition.group].slice  # type: ignore[index]
            on_weights[piece] += constraint.pulled_back(w[piece], mu)
        else:
            node = first + condition.node
            own = constraint.pulled_back(everywhere[node], mu)
            sources[node] = sources[node] + own if node in sources else own
    arrived, pulled = network.backward(NUMPY, pieces, everywhere, sources)
    adjoints = [
        np.zeros_like(state) if lam is None else np.broadcast_to(lam, state.shape)
        for lam, state in zip(arrived[first:], states, strict=True)
    ]
    found = [
        np.zeros(group.size) if own is None else np.broadcast_to(own, (group.size,))
        for group, own in zip(network.groups, pulled, strict=True)
    ]
    gradient = np.concatenate([np.zeros(0), *found]) + problem.weight_decay * w + on_weights
    return Backpropagated(adjoints, gradient)


def simulate(problem: Problem, w: np.ndarray) -> list[np.ndarray]:
    """Return the states `(B, d_k)` that weights lead to, one array a node that runs a module."""
    network = problem.network
    return network.forward(NUMPY, network.split(NUMPY, w))[len(network.data) :]


def largest(arrays: Sequence[np.ndarray]) -> float:
    """Return the largest magnitude; NaN where one is."""
    return max((float(abs(array).max(initial=0.0)) for array in arrays), default=0.0)
