"""Newton's method within bounds: known answers, faces that change, saddles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from actionopt.newton.point import largest
from actionopt.newton.projected import ProjectedNewton, projected
from tests.newton.functions import At, Function, quadratic, rosenbrock, two_wells


@pytest.mark.parametrize("seed", range(4))
def test_bounded_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design, target = rng.standard_normal((40, 25)) * np.geomspace(1, 30, 25), rng.standard_normal(40)
    hessian = design.T @ design
    low, high = -0.02 * np.ones(25), rng.uniform(0.0, 0.1, 25)
    function = quadratic(hessian, np.linalg.solve(hessian, design.T @ target))
    found = ProjectedNewton(function, low, high, 1e-9).minimize(function(np.zeros(25)))
    exact = lsq_linear(design, target, (low, high), tol=1e-14).x
    assert found.status == "converged"
    assert found.iterations <= 25
    np.testing.assert_allclose(found.point.x, exact, atol=1e-8)
    at_low, at_high = found.point.x == low, found.point.x == high
    assert at_low.any()
    assert at_high.any()
    assert (found.point.gradient[at_low] >= 0).all()
    assert (found.point.gradient[at_high] <= 0).all()


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_rosenbrock_behind_a_wall(scale: float) -> None:
    """Where x <= 0.5 the least is at (0.5, 0.25), 0.25."""
    function = rosenbrock(scale)
    low, high = np.array([-np.inf, -np.inf]), np.array([0.5, np.inf])
    found = ProjectedNewton(function, low, high, 1e-10 * scale).minimize(function(np.array([-1.2, 1.0])))
    assert found.status == "converged"
    assert found.point.x[0] == 0.5
    assert found.point.x[1] == pytest.approx(0.25, abs=1e-10)
    assert found.point.value == pytest.approx(0.25 * scale)


def test_without_bounds_it_is_newton_s_method() -> None:
    function, free = rosenbrock(), np.full(2, np.inf)
    found = ProjectedNewton(function, -free, free, 1e-10).minimize(function(np.array([-1.2, 1.0])))
    assert (found.status, found.iterations < 40) == ("converged", True)
    np.testing.assert_allclose(found.point.x, 1.0, atol=1e-9)


def test_a_saddle_is_left_within_the_bounds() -> None:
    function = two_wells()
    for high in (np.inf, 0.2):
        top = np.array([high, np.inf])
        found = ProjectedNewton(function, np.array([-0.3, -1.0]), top, 1e-10).minimize(function(np.zeros(2)))
        assert found.status == "converged"
        assert found.point.x[0] in (-0.3, pytest.approx(min(1.0, high), abs=1e-9))
        assert found.point.value < 0.25


def test_a_maximum_between_bounds_ends_at_one_of_them() -> None:
    function = quadratic([[-1.0]], [0.1])
    found = ProjectedNewton(function, np.array([-1.0]), np.array([1.0]), 1e-12).minimize(function(np.array([0.1])))
    assert found.status == "converged"
    assert abs(found.point.x[0]) == 1.0


def test_what_falls_without_end_is_unbounded() -> None:
    function = Function(lambda x: -np.exp(x[0]), lambda x: -np.exp(x), lambda x: -np.diag(np.exp(x)))
    found = ProjectedNewton(function, np.zeros(1), np.full(1, np.inf), 1e-9).minimize(function(np.ones(1)))
    assert found.status == "unbounded"


def test_limits_and_interrupt_keep_the_last_point() -> None:
    function, bound = rosenbrock(), np.full(2, 5.0)
    start = function(np.array([-1.2, 1.0]))
    limited = ProjectedNewton(function, -bound, bound, 1e-10, max_iterations=3).minimize(start)
    assert (limited.status, limited.iterations) == ("iteration limit", 3)

    def watch(iteration: int, point: At) -> str | None:
        if iteration == 3:
            raise KeyboardInterrupt
        return None

    interrupted = ProjectedNewton(function, -bound, bound, 1e-10, watch=watch).minimize(start)  # type: ignore[arg-type]
    assert interrupted.status == "interrupted"
    np.testing.assert_array_equal(interrupted.point.x, limited.point.x)


def test_the_projected_gradient_leaves_out_what_pushes_against_a_bound() -> None:
    gradient, x = np.array([1.0, -1.0, 1.0, -1.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0, 0.5])
    left = projected(gradient, x, np.zeros(5), np.ones(5))
    np.testing.assert_array_equal(left, [0.0, -1.0, 1.0, 0.0, 3.0])
    assert largest(left) == 3.0
