"""How far a curve breaks its constraints between the places where they are imposed."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from actionopt.action.program.conditions import Conditions
from actionopt.action.scheme import position_laws, slope_laws
from actionopt.action.task import ActionTask

PLACES = np.linspace(0.0, 1.0, 17)  # of every interval
POSITIONS, VELOCITIES, BOUNDS = 1e-3, 0.1, 1e-2  # relative violations up to which a curve keeps its constraints


@dataclass(frozen=True)
class Violation:
    """Largest violations along a curve.

    Attributes
    ----------
    largest : float
        Of any constraint or bound, in its own unit.
    positions : float
        Of constraints on the position alone, over how much they can change within a step: the part of a step by which
        the curve reaches into what it should avoid.
    velocities : float
        Of constraints that contain the velocity, over the size of their terms.
    bounds : float
        Of bounds, over the longest step in their coordinate.
    """

    largest: float
    positions: float
    velocities: float
    bounds: float

    @property
    def between_nodes(self) -> bool:
        """Whether the curve reaches into what its constraints on positions forbid."""
        return not self.positions <= POSITIONS

    @property
    def kept(self) -> bool:
        """Whether the curve keeps its constraints, as far as a discretisation can."""
        return not self.between_nodes and self.velocities <= VELOCITIES and self.bounds <= BOUNDS


def violation(task: ActionTask, conditions: Conditions, points: np.ndarray) -> Violation:
    """Evaluate the inequalities of a task on the polynomial pieces through `points (K, n)`."""
    w, v, t = _along(task, points)
    steps = abs(np.diff(points[task.scheme.nodes], axis=0)).max(axis=0)
    value, change = _evaluated(conditions, (w, v, t), steps)
    of_positions = conditions.of_positions[1]
    broken = np.maximum(value, 0.0)
    reach = np.maximum(change.max(axis=1, keepdims=True), np.finfo(float).tiny)
    outside = np.maximum(np.maximum(task.lower - w, w - task.upper), 0.0)
    return Violation(
        largest=max(_most(broken * conditions.inequality_sizes), _most(outside)),
        positions=_most((broken / reach)[..., of_positions]),
        velocities=_most(broken[..., ~of_positions]),
        bounds=_most(outside / np.maximum(steps, np.finfo(float).tiny)),
    )


def _along(task: ActionTask, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, velocities `(N, P, n)` and times `(N, P)` at all places."""
    scheme, degree = task.scheme, int(task.scheme.nodes[1])
    lengths = np.diff(scheme.times)
    pieces = points[np.arange(len(lengths))[:, None] * degree + np.arange(degree + 1)]
    w = np.einsum("qi,kin->kqn", position_laws(scheme, PLACES), pieces)
    v = np.einsum("qi,kin->kqn", slope_laws(scheme, PLACES), pieces) / lengths[:, None, None]
    return w, v, scheme.times[:-1, None] + lengths[:, None] * PLACES


def _evaluated(
    conditions: Conditions, at: tuple[np.ndarray, np.ndarray, np.ndarray], steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the inequalities, over their sizes, and how much a longest step can change them, `(N, P, k)` each."""
    w, v, t = at
    c = conditions.inequalities
    if not c.numel():
        return np.zeros((*t.shape, 0)), np.zeros((*t.shape, 0))
    change = ca.fabs(ca.jacobian(c, conditions.w)) @ ca.DM(steps)
    function = ca.Function("c", [conditions.w, conditions.v, conditions.t], [ca.densify(c), ca.densify(change)])
    n = w.shape[-1]
    found = function.map(t.size)(w.reshape(-1, n).T, v.reshape(-1, n).T, t.reshape(1, -1))
    value, moved = (np.asarray(out.full().T.reshape(*t.shape, -1)) for out in found)
    return value, moved


def _most(values: np.ndarray) -> float:
    return float(values.max(initial=0.0))
