"""The second word on a stationary point: the lowest curvature of the Lagrangian along directions that are free to move.

Free are the weights that rest on no bound and, where constraints are active, the directions that keep them to first
order. Along a direction dw the states follow, dz = T dw with T the solution of the linearised equations, so that

    lowest eigenvalue of   P (H_ww + H_wz T + T^T H_zw + T^T H_zz T) P

is measured per unit of |dw|, with and without states as variables.
"""

from __future__ import annotations

from collections.abc import Callable

import casadi as ca
import numpy as np
from scipy.linalg import null_space
from scipy.sparse.linalg import splu

from actionopt.constrained.backpropagated import simulate
from actionopt.constrained.energy import Energy
from actionopt.constrained.graph import SymbolicNetwork
from actionopt.constrained.lifted import LiftedProgram
from actionopt.constrained.task import TrainTask
from actionopt.constrained.training import Trained
from actionopt.newton.lanczos import Lowest, lowest_eigenvalue

Product = Callable[[np.ndarray], np.ndarray]
BRIEF, MANY = 12, 300  # Hessian products
ACTIVE = 1e-6  # distance from a bound or limit, relative to its size, at which it counts as active


def second_order(task: TrainTask, trained: Trained, *, brief: bool = False) -> Lowest | None:
    """Return the lowest eigenvalue of the reduced Hessian; None where no direction is free or it is not finite.

    A `brief` look takes a few products only, which show curvature that is clearly negative.
    """
    free = _free(task, trained.weights)
    basis: np.ndarray | None = None
    if task.constraints:
        product, rows = _constrained(task, trained)
        basis = null_space(rows[:, free]) if rows.size else None
    else:
        product = _plain(task, trained.weights)
    size = int(free.sum()) if basis is None else basis.shape[1]
    if not size:
        return None

    def reduced(direction: np.ndarray) -> np.ndarray:
        full = np.zeros((*direction.shape[:-1], task.problem.size))
        full[..., free] = direction if basis is None else direction @ basis.T
        image = product(full)[..., free]
        return image if basis is None else image @ basis

    with np.errstate(all="ignore"):
        try:
            lowest = lowest_eigenvalue(reduced, size, max_products=BRIEF if brief else MANY)
        except np.linalg.LinAlgError:  # not finite
            return None
    return lowest if np.isfinite(lowest.value) else None


def _free(task: TrainTask, w: np.ndarray) -> np.ndarray:
    low, high = task.bounds
    return ~(_near(w, low) | _near(w, high))


def _near(values: np.ndarray, limit: np.ndarray) -> np.ndarray:
    finite = np.isfinite(limit)
    at = np.where(finite, limit, 0.0)
    return finite & (abs(values - at) <= ACTIVE * np.fmax(1.0, abs(at)))


def _plain(task: TrainTask, w: np.ndarray) -> Product:
    point = Energy(task.problem)(w)

    def product(direction: np.ndarray) -> np.ndarray:
        image = point.product(direction)
        return image if task.penalty is None else image + (task.penalty.matrix @ direction.T).T

    return product


def _constrained(task: TrainTask, trained: Trained) -> tuple[Product, np.ndarray]:
    """Return the Hessian product in the weights, states following, and the slopes of the active constraints."""
    problem = task.problem
    program = LiftedProgram(SymbolicNetwork(problem), 1, penalty=task.penalty, constraints=task.constraints)
    states = simulate(problem, trained.weights) if trained.states is None else trained.states
    given = program.derivatives
    derivatives = ca.Function("at", [program.x, given.lam_f, given.lam_g], [given.jacobian, given.hessian])
    x = program.point(trained.weights, states)
    lam = program.to_multipliers(trained.multipliers or [])
    for places, mu in zip(program.layout.conditions, trained.constraint_multipliers, strict=True):
        lam[places] = mu
    jacobian, hessian = (out.sparse().tocsr() for out in derivatives(x, 1.0, lam))
    at_w = program.layout.weights
    at_z = np.concatenate([places.ravel() for places in program.layout.states])
    equations = np.concatenate([places.ravel() for places in program.layout.equations])
    follow = splu(jacobian[equations][:, at_z].tocsc())
    slopes = jacobian[equations][:, at_w]

    def along(dw: np.ndarray) -> np.ndarray:
        dx = np.zeros(program.layout.size)
        dx[at_w], dx[at_z] = dw, follow.solve(-(slopes @ dw))
        return dx

    def back(force: np.ndarray) -> np.ndarray:
        pulled: np.ndarray = force[at_w] - slopes.T @ follow.solve(force[at_z], trans="T")
        return pulled

    def product(direction: np.ndarray) -> np.ndarray:
        flat = direction.reshape(-1, problem.size)
        return np.stack([back(hessian @ along(dw)) for dw in flat]).reshape(direction.shape)

    active = _active(task, trained, states)
    rows = np.concatenate([places.ravel()[on] for places, on in zip(program.layout.conditions, active, strict=True)])
    reduced = np.stack([back(row) for row in jacobian[rows].toarray()]) if len(rows) else np.zeros((0, problem.size))
    return product, reduced


def _active(task: TrainTask, trained: Trained, states: list[np.ndarray]) -> list[np.ndarray]:
    found = []
    for constraint in task.constraints:
        at = constraint.argument(task.problem, trained.weights, states)
        values = constraint.values_at(at)
        found.append((_near(values, constraint.lower) | _near(values, constraint.upper)).ravel())
    return found
