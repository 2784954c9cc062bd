"""Lagrangians of control: time, equalities, costs of the end, free ends and conditions on them; with every solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_bvp

import actionopt as ao

NLP = ["ipopt", "fatrop"]
ALL = ["newton", *NLP]


def tracking(end_weight: float = 5.0) -> ao.Lagrangian:
    """`1/2 v^2 + 1/2 (w - sin t)^2` with the cost `c w(T)^2` of the end."""
    return ao.Lagrangian(
        1,
        lambda ops, w, v, t: 0.5 * ops.sum(v * v + (w - ops.sin(t)) ** 2),
        end_cost=lambda ops, w: end_weight * ops.sum(w * w),
        name="tracking",
    )


def tracked(free_start: bool) -> float:
    """The same from its boundary value problem: w'' = w - sin t, w'(T) = -10 w(T), and w(0) = 1 or w'(0) = 0."""
    first = (lambda a: a[1]) if free_start else (lambda a: a[0] - 1.0)
    grid = np.linspace(0.0, 3.0, 200)
    solved = solve_bvp(
        lambda t, y: np.stack([y[1], y[0] - np.sin(t)]),
        lambda a, b: np.array([first(a), b[1] + 10.0 * b[0]]),
        grid,
        np.zeros((2, 200)),
        tol=1e-11,
    )
    fine = np.linspace(0.0, 3.0, 20001)
    w, v = solved.sol(fine)
    return float(np.trapezoid(0.5 * v**2 + 0.5 * (w - np.sin(fine)) ** 2, fine) + 5.0 * w[-1] ** 2)


@pytest.mark.parametrize("solver", ALL)
@pytest.mark.parametrize("free_start", [False, True])
def test_time_and_the_cost_of_the_end(free_start: bool, solver: str) -> None:
    start = [np.nan] if free_start else [1.0]
    found = ao.minimize_action(tracking(), start, horizon=3.0, steps=60, scheme="gauss2", solver=solver)
    assert found.action == pytest.approx(tracked(free_start), rel=1e-6)
    assert found.end_cost == pytest.approx(5.0 * found.weights[-1, 0] ** 2)
    assert found.node_momenta[-1, 0] == pytest.approx(-10.0 * found.weights[-1, 0], abs=1e-6)
    if free_start:
        assert found.node_momenta[0, 0] == pytest.approx(0.0, abs=1e-7)


def test_time_is_a_column_of_w() -> None:
    seen: list[Any] = []

    def value(ops: Any, w: Any, v: Any, t: Any) -> Any:
        seen.append(t.shape)
        return ops.sum(ops.concatenate([v, t]) ** 2)

    ao.minimize_action(ao.Lagrangian(2, value), [0.0, 0.0], [1.0, 1.0], horizon=1.0, steps=4)
    assert set(seen) == {(1, 1)}


def test_saved_trajectories_keep_the_cost_of_the_end(tmp_path: Any) -> None:
    found = ao.minimize_action(tracking(), [1.0], horizon=3.0, steps=10)
    again = ao.Trajectory.load(found.save(tmp_path / "path.npz"))
    assert again.action == found.action
    assert again.is_minimum is True
    assert again.lowest_eigenvalue == found.lowest_eigenvalue


def pendulum() -> ao.Lagrangian:
    """Swing-up by a torque `u = omega' + sin theta`, least `1/2 u^2`."""

    def effort(ops: Any, w: Any, v: Any) -> Any:
        theta, _ = ops.columns(w)
        torque = ops.columns(v)[1] + ops.sin(theta)
        return 0.5 * ops.sum(torque * torque)

    def kinematics(ops: Any, w: Any, v: Any) -> Any:
        return ops.columns(v)[0] - ops.columns(w)[1]

    return ao.Lagrangian(2, effort, equality=kinematics, name="pendulum")


@pytest.mark.parametrize("solver", NLP)
def test_hamiltonian_under_an_equality_that_contains_the_velocity(solver: str) -> None:
    """`p = dl/dv + mu dc/dv`: H is constant to second order, and the momenta at the nodes are the costates."""
    spreads = []
    for steps in (30, 120):
        found = ao.minimize_action(
            pendulum(), [0.0, 0.0], [np.pi, 0.0], horizon=4.0, steps=steps, solver=solver, tol=1e-10
        )
        spreads.append(np.ptp(found.hamiltonian))
        costates = found.stats["multipliers"]["costates"]
        np.testing.assert_allclose(found.node_momenta, costates, atol=1e-8)
        assert found.stats["multipliers"]["equality"].shape == (steps, 1)
    assert spreads[1] < 5e-4
    assert np.log2(spreads[0] / spreads[1]) == pytest.approx(4.0, abs=0.5)


@pytest.mark.parametrize("solver", NLP)
def test_dynamics_as_two_inequalities_are_one_equality(solver: str) -> None:
    held = pendulum()
    equality = held.equality
    assert equality is not None

    def both(ops: Any, w: Any, v: Any) -> Any:
        c = equality(ops, w, v)
        return ops.concatenate([c, -c])

    pair = ao.Lagrangian(2, held.formula, constraint=both)
    ends: dict[str, Any] = {"horizon": 4.0, "steps": 30, "solver": solver}
    one = ao.minimize_action(held, [0.0, 0.0], [np.pi, 0.0], **ends)
    two = ao.minimize_action(pair, [0.0, 0.0], [np.pi, 0.0], **ends)
    np.testing.assert_allclose(two.weights, one.weights, atol=1e-7)
    path, mu = two.stats["multipliers"]["path"], one.stats["multipliers"]["equality"]
    assert path.min() >= 0.0
    np.testing.assert_allclose(path[:, :1] - path[:, 1:], mu, atol=1e-6)


@pytest.mark.parametrize("solver", NLP)
def test_exit_of_a_kinetic_langevin_equation(solver: str) -> None:
    """`x'' = -x' + x - x^3` with noise on the force alone: from the well to the saddle twice the barrier, 1/2."""

    def force(ops: Any, w: Any, v: Any) -> Any:
        x, p = ops.columns(w)
        residual = ops.columns(v)[1] + p - (x - x * x * x)
        return 0.5 * ops.sum(residual * residual)

    kinetic = ao.Lagrangian(2, force, equality=lambda ops, w, v: ops.columns(v)[0] - ops.columns(w)[1])
    found = ao.minimize_action(
        kinetic, [-1.0, 0.0], [0.0, 0.0], horizon=30.0, steps=200, scheme="gauss2", solver=solver
    )
    assert found.action == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("scheme", ["midpoint", "gauss2"])
@pytest.mark.parametrize("solver", NLP)
def test_equality_on_positions_alone(solver: str, scheme: str) -> None:
    """A great circle of the unit sphere: a quarter of it at constant speed, S = (pi/2)^2 / 2."""
    sphere = ao.Lagrangian(
        3,
        lambda ops, w, v: 0.5 * ops.sum(v * v),
        equality=lambda ops, w, v: ops.sum(w * w, keepdims=True) - 1.0,
    )
    t = np.linspace(0.0, 1.0, 41)[:, None]
    bent = (1 - t) * [1.0, 0.0, 0.0] + t * [0.0, 1.0, 0.0] + 0.3 * np.sin(np.pi * t) * [0.0, 0.0, 1.0]
    found = ao.minimize_action(
        sphere, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], horizon=1.0, steps=40, scheme=scheme, solver=solver, guess=bent
    )
    np.testing.assert_allclose((found.points**2).sum(axis=1), 1.0, atol=1e-8)
    # chords of the circle are shorter than its arcs
    assert found.action == pytest.approx(np.pi**2 / 8.0, rel=2e-4)
    assert found.stats["multipliers"]["equality_points"].shape == (len(found.points), 1)


@pytest.mark.parametrize("solver", NLP)
def test_conditions_on_the_ends(solver: str) -> None:
    """From the unit circle to (3, 4), and from the origin to the line x + y = 2: straight, at constant speed."""
    free = ao.Lagrangian(2, lambda ops, w, v: 0.5 * ops.sum(v * v))

    def circle(ops: Any, w: Any) -> Any:
        return ops.sum(w * w, keepdims=True) - 1.0

    def line(ops: Any, w: Any) -> Any:
        x, y = ops.columns(w)
        return x + y - 2.0

    leaving = ao.minimize_action(
        free, None, [3.0, 4.0], horizon=1.0, steps=8, solver=solver, start_constraint=circle, tol=1e-10
    )
    assert leaving.action == pytest.approx(8.0, rel=1e-8)
    np.testing.assert_allclose(leaving.weights[0], [0.6, 0.8], atol=1e-7)
    # p = mu grad c at the start, with the sign of S + mu c
    np.testing.assert_allclose(leaving.node_momenta[0], leaving.stats["multipliers"]["start"] * [1.2, 1.6], atol=1e-6)
    arriving = ao.minimize_action(free, [0.0, 0.0], horizon=1.0, steps=8, solver=solver, end_constraint=line, tol=1e-10)
    assert arriving.action == pytest.approx(1.0, rel=1e-8)
    np.testing.assert_allclose(arriving.node_momenta[-1], -arriving.stats["multipliers"]["end"] * [1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("solver", ALL)
def test_free_starts(solver: str) -> None:
    """Nothing to do: the free start lies at the end. In part free: it moves in the other coordinate alone."""
    free = ao.Lagrangian(2, lambda ops, w, v: ops.sum(v * v))
    still = ao.minimize_action(free, None, [1.0, 2.0], horizon=1.0, steps=5, solver=solver)
    np.testing.assert_allclose(still.weights, np.tile([1.0, 2.0], (6, 1)), atol=1e-8)
    partly = ao.minimize_action(free, [0.0, np.nan], [1.0, 2.0], horizon=1.0, steps=5, solver=solver)
    np.testing.assert_allclose(partly.weights[:, 1], 2.0, atol=1e-8)
    assert partly.action == pytest.approx(1.0, rel=1e-9)


def test_doing_nothing_is_left_where_other_guesses_are_cheaper() -> None:
    """`x'' = u^3`, least `x^2 + x'^2 + u^2`: no control at all is stationary, and costs 8."""

    def cost(ops: Any, w: Any, v: Any) -> Any:
        x, speed, _ = ops.columns(w)
        u = ops.columns(v)[2]
        return ops.sum(x * x + speed * speed + u * u)

    def dynamics(ops: Any, w: Any, v: Any) -> Any:
        dx, ds, u = ops.columns(v)
        return ops.concatenate([dx - ops.columns(w)[1], ds - u * u * u])

    cubed = ao.Lagrangian(3, cost, equality=dynamics)
    for solver in NLP:
        found = ao.minimize_action(cubed, [1.0, 0.0, 0.0], horizon=8.0, steps=40, solver=solver)
        assert found.action < 2.7
        assert found.stats["guesses"] == 5


def test_newton_says_what_it_does_not_take() -> None:
    with pytest.raises(ao.InputError, match=r"newton.*takes no bounds or path constraints"):
        ao.minimize_action(pendulum(), [0.0, 0.0], [1.0, 0.0], horizon=1.0, steps=4, solver="newton")
    problem = ao.Problem(
        [ao.Dense(2, 4, "tanh"), ao.Dense(4, 1)], np.eye(2), np.ones((2, 1)), ao.SquaredError(), mass=0.1
    )
    with pytest.raises(ao.InputError, match="takes no free start with 17 coordinates"):
        ao.minimize_action(problem, None, problem.initial_weights(), horizon=1.0, steps=4, solver="newton")
    found = ao.minimize_action(problem, None, problem.initial_weights(), horizon=0.5, steps=4)
    assert found.stats["solver"] == "ipopt"


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda ops, t, w, v: ops.sum(v * v), "must take the time last"),
        (lambda ops, w: ops.sum(w * w), r"must be a function \(ops, w, v\) or \(ops, w, v, t\), got one of \(ops, w\)"),
        (3.0, "must be a function"),
    ],
)
def test_formulas_of_other_arguments(formula: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.Lagrangian(1, formula)


def test_ends_cost_one_number() -> None:
    two = ao.Lagrangian(2, lambda ops, w, v: ops.sum(v * v), end_cost=lambda ops, w: w)
    with pytest.raises(ao.InputError, match=r"end_cost must be one number, got shape"):
        ao.minimize_action(two, [0.0, 0.0], horizon=1.0, steps=3)
    with pytest.raises(ao.InputError, match="start_constraint must be a function"):
        ao.minimize_action(two, None, [0.0, 0.0], horizon=1.0, steps=3, start_constraint=1.0)  # type: ignore[arg-type]
