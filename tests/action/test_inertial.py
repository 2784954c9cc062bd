"""Flows with inertia: zero action along the flow, twice friction times the climb against it, balance, small masses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import actionopt as ao
from actionopt.ops import NUMPY

NLP = ["ipopt", "fatrop"]
WELL = ao.Drift(
    1, lambda ops, x: x - x**3, energy=lambda ops, x: 0.25 * ops.sum((x * x - 1.0) * (x * x - 1.0)), name="well"
)


def network(output_metric: str | None = None) -> ao.Problem:
    x = np.linspace(-2.0, 2.0, 9)[:, None]
    modules = [ao.Dense(1, 2, "tanh"), ao.Dense(2, 1)]
    return ao.Problem(
        modules, x, np.tanh(x), ao.SquaredError(), mass=0.5, weight_decay=0.05, output_metric=output_metric
    )


@pytest.mark.parametrize("solver", NLP)
@pytest.mark.parametrize(("mass", "friction"), [(0.2, 1.0), (1.0, 1.0), (1.0, 2.5)])
def test_exit_costs_twice_the_climb_times_the_friction_whatever_the_mass(
    solver: str, mass: float, friction: float
) -> None:
    ball = ao.Inertial(WELL, mass, friction)
    found = ao.minimize_action(
        ball, [-1.0, 0.0], [0.0, 0.0], horizon=30.0 * friction, steps=150, scheme="gauss2", solver=solver
    )
    assert found.action == pytest.approx(0.5 * friction, rel=2e-5)
    assert abs(ball.balance_defect(found)) < 1e-5


@pytest.mark.parametrize("solver", NLP)
def test_free_end_is_the_flow_with_zero_action(solver: str) -> None:
    ball = ao.Inertial(WELL, 0.5, 0.8)
    found = ao.minimize_action(ball, [0.2, 0.3], horizon=6.0, steps=60, scheme="gauss2", solver=solver)
    assert found.action < 1e-20
    true = solve_ivp(
        lambda t, x: [x[1], (x[0] - x[0] ** 3 - 0.8 * x[1]) / 0.5], (0.0, 6.0), [0.2, 0.3], rtol=1e-11, atol=1e-12
    ).y[:, -1]
    np.testing.assert_allclose(found.weights[-1], true, atol=1e-6)
    assert found.energy is not None
    assert found.energy[0] == pytest.approx(0.25 * (0.04 - 1.0) ** 2 + 0.25 * 0.09)  # m/2 u^2 included


def test_energy_balance_has_the_order_of_the_scheme() -> None:
    ball = ao.Inertial(WELL, 0.5, 0.8)
    defects = [
        abs(ball.balance_defect(ao.minimize_action(ball, [0.2, 0.3], horizon=6.0, steps=n, scheme="gauss2")))
        for n in (40, 80)
    ]
    assert np.log2(defects[0] / defects[1]) == pytest.approx(4.0, abs=0.3)
    paths = [
        ball.balance_defect(ao.minimize_action(ball, [-1.0, 0.0], [0.1, 0.2], horizon=6.0, steps=n, scheme="gauss2"))
        for n in (40, 80)
    ]
    assert abs(paths[1]) < abs(paths[0]) / 8.0  # against the flow the noise gives the energy


def test_flow_of_a_network_loses_what_friction_takes() -> None:
    problem = network()
    ball, w = ao.Inertial(problem, 0.5, 1.0), problem.initial_weights(0)
    found = ao.minimize_action(ball, np.concatenate([w, 0.0 * w]), horizon=4.0, steps=40, scheme="gauss2")
    assert found.action < 1e-18
    assert abs(ball.balance_defect(found)) < 1e-6
    u, steps = found.stage_weights[:, len(w) :], np.repeat(0.05, 80)
    taken = float(steps @ (problem.mass * u**2).sum(axis=1))
    assert found.energy is not None
    assert found.energy[0] - found.energy[-1] == pytest.approx(taken, rel=1e-4)


def test_small_masses_give_the_first_order_flow_and_path_to_first_order() -> None:
    """`m w'' + w' = b` is `w' = b` up to m: positions of flows, action and positions of paths at rest in the ends."""
    masses = (0.04, 0.02, 0.01)
    options: Any = {"steps": 150, "scheme": "gauss2"}
    flow = ao.minimize_action(WELL, [0.5], horizon=2.0, **options)
    path = ao.minimize_action(WELL, [-1.0], [0.2], horizon=5.0, **options)
    guess = np.stack([path.weights[:, 0], np.gradient(path.weights[:, 0], path.times)], axis=1)
    gaps = []
    for mass in masses:
        ball = ao.Inertial(WELL, mass)
        heavy = ao.minimize_action(ball, [0.5, 0.5 - 0.125], horizon=2.0, **options)
        over = ao.minimize_action(ball, [-1.0, 0.0], [0.2, 0.0], horizon=5.0, guess=guess, **options)
        gaps.append(
            [
                abs(heavy.weights[:, 0] - flow.weights[:, 0]).max(),
                over.action - path.action,
                abs(over.weights[:, 0] - path.weights[:, 0]).max(),
            ]
        )
    orders = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    np.testing.assert_allclose(orders, 1.0, atol=0.1)
    assert gaps[-1][1] < 2e-3 * path.action


def test_metric_and_noise_enter_as_in_the_first_order_action(rng: np.random.Generator) -> None:
    """The density by hand, of a drift with noise and of a problem with its mass."""
    noise = np.array([[2.0, 0.3], [0.3, 0.5]])
    turned = ao.Drift(2, lambda ops, w: ops.matmul(w, np.array([[-1.0, 2.0], [0.0, -3.0]])), noise=noise)
    ball = ao.Inertial(turned, 0.7, 1.3)
    x, v = rng.standard_normal((2, 5, 4))
    r = 0.7 * v[:, 2:] + 1.3 * x[:, 2:] - turned.drift(NUMPY, x[:, :2])
    expected = 0.5 * np.einsum("ki,ij,kj->k", r, np.linalg.inv(noise), r)
    np.testing.assert_allclose(np.ravel(ball.value(NUMPY, x, v)), expected, rtol=1e-12)
    problem = network()
    w = problem.initial_weights(1)
    heavy = ao.Inertial(problem, 2.0, 0.5)
    x, v = rng.standard_normal((2, 14)) + np.concatenate([w, w])
    r = 2.0 * v[7:] + 0.5 * x[7:] + problem.gradient(x[:7]) / problem.mass
    assert float(heavy.value(NUMPY, x, v)) == pytest.approx(0.5 * (problem.mass * r * r).sum())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ao.Inertial(WELL, 0.0), "mass must be a finite number, positive"),
        (lambda: ao.Inertial(WELL, 1.0, -1.0), "friction must be a finite number, >= 0"),
        (lambda: ao.Inertial(ao.Lagrangian(1, lambda ops, w, v: ops.sum(v * v)), 1.0), "expected a Problem or a Drift"),  # type: ignore[arg-type]
        (
            lambda: ao.Inertial(ao.Drift(1, lambda ops, x: -x, noise=lambda ops, x: 1.0 + x * x), 1.0),
            "depends on the state",
        ),
        (lambda: ao.Inertial(network("fisher"), 1.0, metric="layerwise"), "the acceleration is covariant"),
    ],
)
def test_rejections(make: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        make()


def test_without_energy_there_is_no_balance() -> None:
    ball = ao.Inertial(ao.Drift(1, lambda ops, x: -x), 1.0)
    found = ao.minimize_action(ball, [1.0, 0.0], horizon=1.0, steps=10, scheme="gauss2")
    assert found.energy is None
    with pytest.raises(ao.InputError, match="has no energy"):
        ball.balance_defect(found)


def test_singular_noise_names_the_way_out() -> None:
    """Kinetic Langevin as a drift in the plane has noise on the velocity alone."""
    with pytest.raises(ao.InputError, match=r"ao\.Inertial"):
        ao.Drift(2, lambda ops, w: w, noise=np.diag([0.0, 1.0]))
