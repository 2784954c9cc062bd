"""L-BFGS: known minima, the metric as initial Hessian, the line search's conditions."""

from __future__ import annotations

import numpy as np
import pytest

from actionopt.newton.lbfgs import Lbfgs
from actionopt.newton.line_search import DECREASE, SLOPE, wolfe_step
from actionopt.newton.point import largest
from tests.newton.functions import Function, quadratic, rosenbrock

START = np.array([-1.2, 1.0])


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e10])
def test_rosenbrock_in_every_unit(scale: float) -> None:
    function = rosenbrock(scale)
    result = Lbfgs(function, 1e-9 * scale).minimize(function(START))
    assert result.status == "converged"
    np.testing.assert_allclose(result.point.x, 1.0, atol=1e-7)


def test_memory_of_all_directions_is_exact_on_a_quadratic() -> None:
    """With as many pairs as unknowns, BFGS with exact steps ends after n + 1; weak Wolfe steps take a few more."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    function = quadratic(root @ root.T + np.eye(5), rng.standard_normal(5))
    result = Lbfgs(function, 1e-10).minimize(function(np.zeros(5)))
    assert result.status == "converged"
    assert result.iterations < 40


def test_the_exact_metric_takes_one_step() -> None:
    matrix = np.diag([1.0, 1e3, 1e6])
    function = quadratic(matrix, [1.0, 2.0, 3.0])
    metric = Lbfgs(function, 1e-7, metric=lambda point: lambda c: c / np.diag(matrix))
    result = metric.minimize(function(np.zeros(3)))
    assert (result.status, result.iterations) == ("converged", 1)


def test_the_metric_is_asked_for_anew() -> None:
    function = rosenbrock()
    asked: list[float] = []

    def metric(point: object) -> object:
        asked.append(point.value)  # type: ignore[attr-defined]
        return np.copy

    Lbfgs(function, 1e-9, metric=metric, refresh=5, max_iterations=14).minimize(function(START))  # type: ignore[arg-type]
    assert len(asked) == 3
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize("first", [1e-6, 1e-2, 1.0, 1e3])
def test_steps_keep_the_wolfe_conditions(first: float) -> None:
    function = rosenbrock()
    point = function(START)
    direction = -point.gradient
    found = wolfe_step(function, point, direction, first)
    assert found is not None
    step = float((found.x - START)[0] / direction[0])
    slope = float(point.gradient @ direction)
    assert found.value <= point.value + DECREASE * step * slope
    assert float(found.gradient @ direction) >= SLOPE * slope


def test_no_step_where_the_function_is_undefined_all_around() -> None:
    nowhere = Function(lambda x: np.nan if x.any() else 0.0, lambda x: np.ones(2), lambda x: np.eye(2))
    assert wolfe_step(nowhere, nowhere(np.zeros(2)), -np.ones(2)) is None
    assert Lbfgs(nowhere, 1e-9).minimize(nowhere(np.zeros(2))).status == "stalled"


def test_iteration_limit_and_interrupt_keep_the_best_point() -> None:
    function = rosenbrock()
    result = Lbfgs(function, 1e-9, max_iterations=4).minimize(function(START))
    assert (result.status, result.iterations) == ("iteration limit", 4)

    def interrupt(iteration: int, point: object) -> None:
        if iteration == 4:
            raise KeyboardInterrupt

    again = Lbfgs(function, 1e-9, watch=interrupt).minimize(function(START))
    assert again.status == "interrupted"
    np.testing.assert_array_equal(again.point.x, result.point.x)
    assert largest(again.point.gradient) < largest(function(START).gradient)
