"""minimize_action: the free end is the flow, fixed ends are stationary, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import actionopt as ao
from actionopt.action import minimize
from actionopt.action.flow import flow_velocity
from actionopt.metric.kinds import METRICS
from tests.action.cases import PROBLEMS, QUADRATIC_ACTION, quadratic, squared


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scheme", ["midpoint", "gauss2", "radau3", "radau5"])
def test_free_end_is_the_implicit_flow(name: str, metric: str, scheme: str) -> None:
    problem = PROBLEMS[name]()
    start = problem.initial_weights(2)
    found = ao.minimize_action(problem, start, horizon=1.0, steps=10, scheme=scheme, metric=metric)
    assert found.action <= 1e-20 * max(problem.energy(start), 1e-3)
    method = "implicit_midpoint" if scheme == "midpoint" else scheme
    flowed = ao.flow(problem, start, horizon=1.0, steps=10, method=method, metric=metric)
    assert found.status == flowed.status  # "underresolved" where ten steps are too few for it
    assert found.success == (found.status == "converged")
    np.testing.assert_allclose(found.weights, flowed.weights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_newton_itself_finds_the_flow_from_a_rough_guess(name: str) -> None:
    """Without the marched guess: Newton on the whole trajectory ends in the flow too."""
    problem = PROBLEMS[name]()
    start = problem.initial_weights(2)
    found = ao.minimize_action(problem, start, horizon=0.5, steps=8, guess="line", tol=1e-11)
    flowed = ao.flow(problem, start, horizon=0.5, steps=8, method="implicit_midpoint")
    np.testing.assert_allclose(found.weights, flowed.weights, rtol=1e-7, atol=1e-8)
    assert found.stats["iterations"] > 1
    assert found.action <= 1e-20 * max(problem.energy(start), 1e-3) + 1e-18


@pytest.mark.parametrize(
    ("scheme", "order", "tolerance", "counts"),
    [
        ("midpoint", 2.0, 0.1, (20, 40, 80)),
        ("gauss2", 4.0, 0.2, (8, 16, 32)),
        ("radau3", 3.0, 0.2, (16, 32, 64)),
        ("radau5", 5.0, 0.3, (6, 12, 24)),
    ],
)
def test_order_against_the_exact_flow(scheme: str, order: float, tolerance: float, counts: tuple[int, ...]) -> None:
    problem = squared()
    start, velocity = problem.initial_weights(2), flow_velocity(problem)
    exact = solve_ivp(lambda t, w: velocity(w), (0, 2.0), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    errors = [
        abs(ao.minimize_action(problem, start, horizon=2.0, steps=steps, scheme=scheme).weights[-1] - exact).max()
        for steps in counts
    ]
    slopes = -np.diff(np.log(errors)) / np.log(2.0)
    assert slopes[-1] == pytest.approx(order, abs=tolerance)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_fixed_ends_are_stationary_and_no_perturbation_is_better(
    name: str, metric: str, rng: np.random.Generator
) -> None:
    problem = PROBLEMS[name]()
    start, end = problem.initial_weights(2), problem.initial_weights(3)
    found = ao.minimize_action(problem, start, end, horizon=1.0, steps=10, metric=metric)
    np.testing.assert_array_equal(found.weights[[0, -1]], [start, end])
    assert found.stats["residual"] <= 1e-8
    assert found.stats["gradient_norm"] == pytest.approx(found.stats["residual"] * found.stats["scale"])
    assert found.action > 0
    density = minimize.make_density(minimize.make_task(problem, start, end, found.discretisation, metric=metric))
    for _ in range(5):
        points = found.points.copy()
        points[1:-1] += 1e-3 * rng.standard_normal(points[1:-1].shape)
        assert ao.Trajectory.from_points(density, found.discretisation, points).action > found.action


def test_partly_fixed_end_has_no_momentum_where_it_is_free() -> None:
    problem = squared()
    end = np.where(np.arange(problem.size) % 2, np.nan, problem.initial_weights(3))
    found = ao.minimize_action(problem, problem.initial_weights(2), end, horizon=1.0, steps=20)
    fixed = np.isfinite(end)
    np.testing.assert_array_equal(found.weights[-1, fixed], end[fixed])
    assert abs(found.node_momenta[-1, ~fixed]).max() < 1e-7
    assert abs(found.node_momenta[-1, fixed]).max() > 1e-3


@pytest.mark.parametrize(("scheme", "order"), [("midpoint", 2.0), ("gauss2", 4.0), ("radau3", 3.0), ("radau5", 5.0)])
def test_quadratic_action_with_its_order(scheme: str, order: float) -> None:
    def error(steps: int) -> float:
        found = ao.minimize_action(quadratic(), [1.0, -1.0], [0.5, 0.8], horizon=1.5, steps=steps, scheme=scheme)
        return abs(found.action - QUADRATIC_ACTION)

    assert np.log2(error(10) / error(20)) == pytest.approx(order, abs=0.1)


def test_given_grids_and_guesses() -> None:
    times = 1.5 * np.linspace(0.0, 1.0, 31) ** 1.5
    arguments: dict[str, Any] = {"what": quadratic(), "start": [1.0, -1.0], "end": [0.5, 0.8]}
    uneven = ao.minimize_action(**arguments, times=times, scheme="gauss2")
    assert uneven.action == pytest.approx(QUADRATIC_ACTION, rel=1e-5)
    coarse = ao.minimize_action(**arguments, horizon=1.5, steps=10)
    for guess in (coarse, "line", uneven.weights, uneven.points):
        again = ao.minimize_action(**arguments, times=times, scheme="gauss2", guess=guess)
        assert again.action == pytest.approx(uneven.action, rel=1e-12)


def test_continuation_in_the_horizon() -> None:
    problem = squared()
    start, end = problem.initial_weights(2), problem.initial_weights(3)
    found = None
    for horizon in (0.5, 1.0, 2.0):
        found = ao.minimize_action(problem, start, end, horizon=horizon, steps=20, guess=found)
        assert found.times[-1] == horizon
    assert found is not None
    assert found.success


def test_early_stop_raises_or_returns_with_advice() -> None:
    problem = squared()
    arguments: dict[str, Any] = {
        "start": problem.initial_weights(2),
        "end": problem.initial_weights(3),
        "max_iterations": 1,
    }
    with pytest.raises(
        ao.SolverError, match=r"not stationary after 1 iterations. Continue from this trajectory"
    ) as caught:
        ao.minimize_action(problem, **arguments, horizon=1.0, steps=10)
    kept = ao.minimize_action(problem, **arguments, horizon=1.0, steps=10, throw=False)
    assert not kept.success
    assert kept.status == "iteration limit"
    np.testing.assert_array_equal(kept.points, caught.value.result.points)
    finished = ao.minimize_action(problem, arguments["start"], arguments["end"], horizon=1.0, steps=10, guess=kept)
    assert finished.success


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon must be a positive"),
        ({"steps": 0}, "steps must be a whole number >= 1"),
        ({"end": [0.5]}, r"end must have shape \(2,\)"),
        ({"scheme": "euler"}, "unknown scheme 'euler'"),
        ({"formulation": "lift"}, "unknown formulation 'lift'; did you mean 'lifted'"),
        ({"guess": "lines"}, "unknown guess 'lines'; did you mean 'line'"),
        ({"guess": "flow"}, 'guess "flow" needs a Problem'),
        ({"guess": np.zeros((3, 2))}, r"guess must have shape \(11, 2\) \(nodes\) or"),
        ({"guess": np.full((11, 2), np.nan)}, "guess must be finite"),
        ({"solver": "newton", "bounds": (-2.0, 2.0)}, 'solver "newton" takes no bounds or path constraints'),
        ({"solver": "newton", "formulation": "lifted"}, 'solver "newton" is condensed'),
    ],
)
def test_rejections(changes: dict[str, Any], message: str) -> None:
    arguments = {"what": quadratic(), "start": [1.0, -1.0], "end": [0.5, 0.8], "horizon": 1.5, "steps": 10, **changes}
    with pytest.raises(ao.InputError, match=message):
        ao.minimize_action(**arguments)


def test_guess_of_another_system_is_refused() -> None:
    other = ao.minimize_action(quadratic(), [1.0, -1.0], horizon=1.0, steps=5)
    problem = squared()
    with pytest.raises(ao.InputError, match="the guess has 2 coordinates, the system 17"):
        ao.minimize_action(problem, problem.initial_weights(), horizon=1.0, steps=5, guess=other)


def test_lagrangians_that_are_not_finite_or_not_convex_are_named() -> None:
    barrier = ao.Lagrangian(1, lambda ops, w, v: 0.5 * v * v - ops.log(w))
    with pytest.raises(ao.InputError, match=r"the Lagrangian is not finite at the guess \(t = .*give another guess"):
        ao.minimize_action(barrier, [1.0], [-1.0], horizon=1.0, steps=10)
    saddle = ao.Lagrangian(2, lambda ops, w, v: ops.columns(v)[0] ** 2 - ops.columns(v)[1] ** 2, name="saddle")
    with pytest.raises(
        ao.InputError, match="saddle: the Lagrangian must be strictly convex in v, but l_vv has the eig"
    ):
        ao.minimize_action(saddle, [0.0, 0.0], [1.0, 1.0], horizon=1.0, steps=10)


def test_many_coordinates_go_without_assembled_hessians(rng: np.random.Generator) -> None:
    matrix = np.diag(np.linspace(0.5, 3.0, 30))
    start, end = rng.standard_normal((2, 30))
    found = ao.minimize_action(
        ao.Drift(30, lambda ops, w: -ops.matmul(w, matrix)), start, end, horizon=1.0, steps=40, scheme="gauss2"
    )
    rates = np.diag(matrix)
    exact = (rates * (end - np.exp(-rates) * start) ** 2 / (1 - np.exp(-2 * rates))).sum()
    assert found.action == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("solver", ["newton", "ipopt"])
def test_formulas_that_casadi_cannot_take_are_named(solver: str) -> None:
    indexed = ao.Lagrangian(2, lambda ops, w, v: v[..., :1] ** 2, name="indexed")
    with pytest.raises(ao.InputError, match="indexed: the Lagrangian fails on CasADi symbols"):
        ao.minimize_action(indexed, [0.0, 0.0], [1.0, 1.0], horizon=1.0, steps=4, solver=solver)
