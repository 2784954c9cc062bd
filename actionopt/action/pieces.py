"""What the polynomial pieces of a scheme say between and at the nodes."""

from __future__ import annotations

import numpy as np

from actionopt.action.density.density import Stages
from actionopt.action.forces import ConstraintForces
from actionopt.action.scheme import Scheme, lagrange


def node_momenta(scheme: Scheme, expansion: Stages, forces: ConstraintForces | None = None) -> np.ndarray:
    """Discrete Legendre transform: momenta `(N+1, n)` at the nodes.

    Minus the derivative of an interval's action in its left node; at the last node, plus that in the right one. Where
    there are constraints, the action is that with their multipliers.
    """
    stage_force, stage_momentum = expansion.force, expansion.momentum
    if forces is not None:
        stage_force, stage_momentum = stage_force + forces.force, stage_momentum + forces.momentum
    intervals = len(scheme.times) - 1
    position = scheme.position.data.reshape(len(scheme.stages), -1)
    velocity = scheme.velocity.data.reshape(len(scheme.stages), -1)

    def slope(column: int) -> np.ndarray:
        force = position[:, column, None] * stage_force + velocity[:, column, None] * stage_momentum
        return (scheme.weights[:, None] * force).reshape(intervals, -1, force.shape[1]).sum(axis=1)

    left, right = slope(0), slope(-1)
    if forces is not None:
        left, right = left + forces.at_left_nodes(scheme), right + forces.at_right_nodes(scheme)
    return np.concatenate([-left, right[-1:]])


def evaluate_pieces(scheme: Scheme, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Evaluate the pieces of a scheme through `values (K, n)` at its points: `(k, n)` at `times (k,)`."""
    nodes, degree = scheme.times, int(scheme.nodes[1])
    interval = np.clip(np.searchsorted(nodes, times, side="right") - 1, 0, len(nodes) - 2)
    local = (times - nodes[interval]) / np.diff(nodes)[interval]
    laws = lagrange((scheme.points[: degree + 1] - nodes[0]) / (nodes[1] - nodes[0]), local)[0]
    return np.einsum("ki,kin->kn", laws, values[interval[:, None] * degree + np.arange(degree + 1)])
