"""Newton-Krylov in a trust region: the path of conjugate gradients, negative curvature, what stops it."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.action.newton.solve import make_density
from actionopt.action.newton.time_laplacian import TimeLaplacian
from actionopt.action.newton.trust_region import newton
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.task import make_task
from actionopt.newton.krylov import KrylovPath, krylov_path
from tests.action.cases import quadratic, squared


def action_of(
    what: ao.Problem | ao.Lagrangian, start: object, end: object, horizon: float, steps: int
) -> DiscreteAction:
    task = make_task(what, start, end, make_scheme("midpoint", make_grid(horizon, steps)), metric="layerwise")
    return DiscreteAction(make_density(task), task)


def laplacian(action: DiscreteAction):
    inverse = TimeLaplacian(action.task)
    return lambda point, residual: inverse.solve(point.expansion, residual)


def path_at(action: DiscreteAction, point: ActionPoint, radius: float = np.inf) -> KrylovPath:
    precondition = laplacian(action)
    return krylov_path(point.gradient, point.product, lambda r: precondition(point, r), radius=radius, tol=1e-12)


def line(action: DiscreteAction) -> np.ndarray:
    task = action.task
    fraction = task.scheme.points[:, None] / task.scheme.points[-1]
    return task.start + fraction * (np.where(np.isnan(task.end), task.start, task.end) - task.start)


def norm(action: DiscreteAction, point: ActionPoint, move: np.ndarray) -> float:
    """Length in the preconditioner's norm, through its inverse: the kinetic part of the Hessian."""
    velocity = action.scheme.velocity @ move
    return float(np.sqrt((action.scheme.weights[:, None] * velocity**2).sum()))


def test_path_reaches_the_minimum_of_a_convex_model() -> None:
    action = action_of(quadratic(), [1.0, -1.0], [0.5, 0.8], 1.5, 20)
    point = action.at(line(action))
    step = path_at(action, point).within(np.inf)
    assert not step.at_boundary
    end = action.at(point.points + step.direction)
    assert end.gradient_norm < 1e-11
    assert step.decrease == pytest.approx(point.value - end.value, rel=1e-10)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_shorter_steps_lie_on_the_same_path(share: float) -> None:
    action = action_of(quadratic(), [1.0, -1.0], [0.5, 0.8], 1.5, 20)
    point = action.at(line(action))
    path = path_at(action, point)
    radius = share * path.within(np.inf).length
    step, again = path.within(radius), path_at(action, point, radius).within(radius)
    np.testing.assert_allclose(step.direction, again.direction, rtol=1e-12)
    assert step.at_boundary
    assert norm(action, point, step.direction) == pytest.approx(radius, rel=1e-9)
    model = (point.gradient * step.direction).sum() + 0.5 * (step.direction * point.product(step.direction)).sum()
    assert step.decrease == pytest.approx(-model, rel=1e-9)
    assert action.at(point.points + step.direction).value < point.value


def test_negative_curvature_is_followed_to_the_radius() -> None:
    """On top of a barrier of l = v^2/2 - w^2 the Hessian is indefinite for a long horizon."""
    hill = ao.Lagrangian(1, lambda ops, w, v: ops.sum(0.5 * v * v - w * w + 0.1 * w * w * w * w))
    action = action_of(hill, [0.0], [0.0], 6.0, 40)
    points = np.zeros((41, 1))
    points[1:-1, 0] = 1e-3 * np.sin(np.linspace(0.0, np.pi, 41))[1:-1]
    point = action.at(points)
    step = path_at(action, point, 2.0).within(2.0)
    assert step.at_boundary
    assert norm(action, point, step.direction) == pytest.approx(2.0, rel=1e-9)
    assert (step.direction * point.product(step.direction)).sum() < 0
    result = newton(action, points, laplacian(action), tol=1e-10, max_iterations=50)
    assert result.status == "converged"
    assert result.point.value < -1.0
    directions = np.eye(39)
    smallest = min(np.linalg.eigvalsh(_dense(result.point, directions)))
    assert smallest > 0  # a minimum, not merely a stationary point


def _dense(point: ActionPoint, directions: np.ndarray) -> np.ndarray:
    return np.array([point.product(np.pad(d, 1)[:, None])[1:-1, 0] for d in directions])


def test_nonconvex_problem_descends_to_a_stationary_point() -> None:
    problem = squared()
    action = action_of(problem, problem.initial_weights(0), problem.initial_weights(3), 1.0, 10)
    seen: list[float] = []
    result = newton(
        action, line(action), laplacian(action), tol=1e-9, max_iterations=200, report=lambda _, p: seen.append(p.value)
    )
    assert result.status == "converged"
    assert result.point.gradient_norm <= 1e-9
    assert len(seen) == result.iterations + 1
    assert (np.diff(seen) <= 1e-13).all()
    assert result.products > 0


def test_limit_and_interruption_keep_the_last_point() -> None:
    problem = squared()
    action = action_of(problem, problem.initial_weights(0), problem.initial_weights(3), 1.0, 10)
    limited = newton(action, line(action), laplacian(action), tol=1e-12, max_iterations=2)
    assert (limited.status, limited.iterations) == ("iteration limit", 2)

    def interrupt(iteration: int, point: ActionPoint) -> None:
        if iteration == 2:
            raise KeyboardInterrupt

    interrupted = newton(action, line(action), laplacian(action), tol=1e-12, max_iterations=9, report=interrupt)
    assert interrupted.status == "interrupted"
    np.testing.assert_array_equal(interrupted.point.points, limited.point.points)


def test_unreachable_tolerance_stalls_at_the_limit_of_rounding() -> None:
    action = action_of(quadratic(), [1.0, -1.0], [0.5, 0.8], 1.5, 20)
    result = newton(action, line(action), laplacian(action), tol=1e-300, max_iterations=100)
    assert result.status == "stalled"
    assert result.point.gradient_norm < 1e-12
