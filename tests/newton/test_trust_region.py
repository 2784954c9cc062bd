"""Trust-region Newton-CG: known minima, units, saddles, and what ends a run early."""

from __future__ import annotations

import numpy as np
import pytest

from actionopt.newton.point import largest
from actionopt.newton.trust_region import TrustRegion
from tests.newton.functions import Function, quadratic, rosenbrock, two_wells

START = np.array([-1.2, 1.0])


def test_one_step_minimises_a_quadratic() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 6))
    function = quadratic(root @ root.T + np.eye(6), rng.standard_normal(6))
    # a tolerance that the forcing of the first step meets as well
    result = TrustRegion(function, tol=1e-12).minimize(function(np.zeros(6)))
    assert result.status == "converged"
    assert result.iterations <= 8
    assert largest(result.point.gradient) <= 1e-12


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e10])
def test_units_of_the_function_change_nothing(scale: float) -> None:
    function = rosenbrock(scale)
    result = TrustRegion(function, tol=1e-10 * scale).minimize(function(START))
    assert result.status == "converged"
    np.testing.assert_allclose(result.point.x, 1.0, atol=1e-9)
    same = TrustRegion(rosenbrock(), tol=1e-10).minimize(rosenbrock()(START))
    assert abs(result.iterations - same.iterations) <= 1  # rounding may decide an iteration


def test_units_of_the_unknowns_change_nothing() -> None:
    base = rosenbrock()
    stretched = Function(
        lambda x: base.value(1e6 * x), lambda x: 1e6 * base.gradient(1e6 * x), lambda x: 1e12 * base.hessian(1e6 * x)
    )
    result = TrustRegion(stretched, tol=1e-4).minimize(stretched(START / 1e6))
    np.testing.assert_allclose(1e6 * result.point.x, 1.0, atol=1e-9)


def test_the_preconditioner_is_the_norm() -> None:
    """In the norm of the Hessian one conjugate gradient is the Newton step."""
    matrix = np.diag([1.0, 1e3, 1e6])
    function = quadratic(matrix, [1.0, 2.0, 3.0])
    result = TrustRegion(function, 1e-9, precondition=lambda r: r / np.diag(matrix)).minimize(function(np.zeros(3)))
    assert result.status == "converged"
    np.testing.assert_allclose(result.point.x, [1.0, 2.0, 3.0], rtol=1e-12)
    assert result.iterations == 1


@pytest.mark.parametrize("start", [[0.0, 0.0], [0.0, 0.7], [0.0, 1e-9]])
def test_a_saddle_is_left(start: list[float]) -> None:
    function = two_wells()
    result = TrustRegion(function, 1e-10).minimize(function(np.array(start)))
    assert result.status == "converged"
    np.testing.assert_allclose(np.abs(result.point.x), [1.0, 0.0], atol=1e-8)


def test_a_saddle_that_cannot_be_left_is_one() -> None:
    """Undefined but at the saddle itself: every step away is refused."""
    base = two_wells()
    walled = Function(lambda x: np.nan if x.any() else base.value(x), base.gradient, base.hessian)
    assert TrustRegion(walled, 1e-10).minimize(walled(np.zeros(2))).status == "saddle"


def test_what_has_no_minimum_is_unbounded() -> None:
    function = Function(lambda x: -np.exp(x[0]), lambda x: -np.exp(x), lambda x: -np.diag(np.exp(x)))
    result = TrustRegion(function, 1e-10).minimize(function(np.array([0.3])))
    assert result.status == "unbounded"


def test_undefined_trials_are_refused() -> None:
    """`x - log x`, defined for x > 0: Newton's step from 5 leads far below 0."""

    def value(x: np.ndarray) -> float:
        return float(x[0] - np.log(x[0])) if x[0] > 0 else np.nan

    function = Function(value, lambda x: 1.0 - 1.0 / x, lambda x: np.diag(x**-2.0))
    result = TrustRegion(function, 1e-10).minimize(function(np.array([5.0])))
    assert result.point.x[0] == pytest.approx(1.0, abs=1e-9)


def test_a_kink_stalls() -> None:
    function = Function(lambda x: abs(x[0]), np.sign, lambda x: np.zeros((1, 1)))
    result = TrustRegion(function, 1e-10).minimize(function(np.array([0.7])))
    assert result.status in ("stalled", "iteration limit")
    assert result.point.value < 0.7


def test_iteration_limit_watch_and_interrupt_keep_the_best_point() -> None:
    function = rosenbrock()
    start = function(START)
    limited = TrustRegion(function, 1e-10, max_iterations=3).minimize(start)
    assert (limited.status, limited.iterations) == ("iteration limit", 3)
    assert limited.point.value < start.value

    seen: list[float] = []

    def stop(iteration: int, point: object) -> str | None:
        seen.append(point.value)  # type: ignore[attr-defined]
        return "enough" if iteration == 2 else None

    watched = TrustRegion(function, 1e-10, watch=stop).minimize(start)
    assert watched.status == "enough"
    assert watched.point.value == seen[-1] == min(seen)

    def interrupt(iteration: int, point: object) -> None:
        if iteration == 2:
            raise KeyboardInterrupt

    interrupted = TrustRegion(function, 1e-10, watch=interrupt).minimize(start)
    assert interrupted.status == "interrupted"
    assert interrupted.point.value == seen[-1]


def test_a_start_at_zero_on_a_saddle_is_not_unbounded() -> None:
    """`x^4/4 - x^2/2` vanishes at the origin, and so does its slope; then it falls below zero."""
    function = Function(
        lambda x: 0.25 * x[0] ** 4 - 0.5 * x[0] ** 2, lambda x: x**3 - x, lambda x: np.diag(3.0 * x**2 - 1.0)
    )
    found = TrustRegion(function, 1e-10).minimize(function(np.zeros(1)))
    assert found.status == "converged"
    assert abs(found.point.x[0]) == pytest.approx(1.0)
