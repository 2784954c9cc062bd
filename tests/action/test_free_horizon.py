"""Free horizons: closed forms, control, the geometric action, bounds that hold, rejections; ipopt and fatrop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao

NLP = ["ipopt", "fatrop"]


def rolling() -> ao.Lagrangian:
    """`1/2 v^2 + 2`: over the length L at the speed 2, `S = 2 L`, `T = L / 2`."""
    return ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(v * v) + 2.0)


@pytest.mark.parametrize("solver", NLP)
def test_speed_at_which_the_hamiltonian_vanishes(solver: str) -> None:
    found = ao.minimize_action(rolling(), [0.0], [3.0], horizon=(0.1, 20.0), steps=10, solver=solver)
    assert found.action == pytest.approx(6.0, rel=1e-9)
    assert found.times[-1] == pytest.approx(1.5, rel=1e-6)
    assert found.stats["horizon"] == found.times[-1]
    assert found.stats["horizon_held"] is None
    assert abs(found.hamiltonian).max() < 1e-6


@pytest.mark.parametrize("solver", NLP)
def test_rest_to_rest_with_a_price_on_time(solver: str) -> None:
    """`x'' = u`, least `int 1 + u^2/2` from 0 to 1 at rest: `T + 6 / T^3` at `T = 18^(1/4)`."""

    def dynamics(ops: Any, w: Any, v: Any) -> Any:
        dx, ds, u = ops.columns(v)
        return ops.concatenate([dx - ops.columns(w)[1], ds - u])

    cost = ao.Lagrangian(3, lambda ops, w, v: 1.0 + 0.5 * ops.columns(v)[2] ** 2, equality=dynamics)
    found = ao.minimize_action(
        cost, [0.0, 0.0, 0.0], [1.0, 0.0, np.nan], horizon=(0.5, 10.0), steps=30, scheme="gauss2", solver=solver
    )
    assert found.action == pytest.approx(4.0 / 3.0 * 18.0**0.25, rel=1e-8)
    assert found.times[-1] == pytest.approx(18.0**0.25, rel=1e-6)
    assert abs(found.hamiltonian).max() < 1e-6


@pytest.mark.parametrize("solver", NLP)
def test_free_horizon_is_the_geometric_action(solver: str) -> None:
    """Between points of one slope the horizon is finite, and both doors give twice the climb."""
    well = ao.Drift(1, lambda ops, x: x - x**3)
    found = ao.minimize_action(well, [-0.9], [-0.3], horizon=(0.1, 50.0), steps=60, scheme="gauss2", solver=solver)
    assert found.action == pytest.approx(ao.least_action_path(well, [-0.9], [-0.3]).action, rel=1e-7)
    climb = 0.25 * ((0.09 - 1.0) ** 2 - (0.81 - 1.0) ** 2)
    assert found.action == pytest.approx(2.0 * climb, rel=1e-7)


@pytest.mark.parametrize("solver", NLP)
def test_conditions_time_and_costs_of_the_end_are_stretched_too(solver: str) -> None:
    """From the unit circle to (3, 4) with l = v^2/2 + 2 + t: speed and horizon against a search over fixed horizons."""

    def circle(ops: Any, w: Any) -> Any:
        return ops.sum(w * w, keepdims=True) - 1.0

    timed = ao.Lagrangian(
        2,
        lambda ops, w, v, t: 0.5 * ops.sum(v * v) + 2.0 + ops.sum(t),
        end_cost=lambda ops, w: ops.sum(w * w) / 25.0,
        constraint=lambda ops, w, v: -4.0 - w,
    )
    found = ao.minimize_action(
        timed, None, [3.0, 4.0], horizon=(0.1, 20.0), steps=8, solver=solver, start_constraint=circle
    )
    horizons = np.linspace(1.0, 2.5, 150_001)
    least = 8.0 / horizons + 2.0 * horizons + 0.5 * horizons**2 + 1.0  # straight, 4 long
    assert found.action == pytest.approx(least.min(), rel=1e-8)
    assert found.times[-1] == pytest.approx(horizons[least.argmin()], abs=1e-4)
    np.testing.assert_allclose(found.weights[0], [0.6, 0.8], atol=1e-6)


def test_a_horizon_at_its_bound_says_so() -> None:
    found = ao.minimize_action(rolling(), [0.0], [3.0], horizon=(2.0, 20.0), steps=10)
    assert found.stats["horizon_held"] == "least"
    assert found.action == pytest.approx(4.5 / 2.0 + 4.0)
    assert "the least allowed" in found.message


def test_a_guess_is_followed() -> None:
    points = np.linspace([0.0], [3.0], 11)
    found = ao.minimize_action(rolling(), [0.0], [3.0], horizon=(0.1, 20.0), steps=10, guess=points, solver="fatrop")
    assert found.action == pytest.approx(6.0, rel=1e-9)


@pytest.mark.parametrize(
    ("horizon", "options", "message"),
    [
        ((2.0, 1.0), {}, "0 < shortest < longest"),
        ((0.0, 1.0), {}, "0 < shortest < longest"),
        ((1.0, np.inf), {}, "0 < shortest < longest"),
        ((1.0, 2.0, 3.0), {}, "0 < shortest < longest"),
        ((1.0, 2.0), {"solver": "newton"}, 'use solver="ipopt" or "fatrop"'),
    ],
)
def test_rejections(horizon: Any, options: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.minimize_action(rolling(), [0.0], [3.0], horizon=horizon, **options)


def test_flows_of_problems_have_another_door() -> None:
    problem = ao.Problem([ao.Dense(1, 1)], np.ones((2, 1)), np.zeros((2, 1)), ao.SquaredError())
    with pytest.raises(ao.InputError, match="least_action_path"):
        ao.minimize_action(problem, [0.0, 0.0], [1.0, 1.0], horizon=(1.0, 2.0))
