"""The unit of an action changes nothing: loss and mass, or the Lagrangian, times c."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.program import solve as program
from tests.action.cases import INPUTS, XOR

FACTORS = 10.0 ** np.arange(-12, 11, 2)


class Times(ao.Loss):
    """A loss times a constant."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def value(self, ops: Any, y: Any, target: Any) -> Any:
        return ao.SquaredError().value(ops, y, target) * self.factor


def network(factor: float) -> ao.Problem:
    layers = [ao.Dense(2, 3, "tanh"), ao.Dense(3, 1)]
    return ao.Problem(layers, INPUTS, XOR[:, None], Times(factor), mass=0.1 * factor)


def double_well(factor: float) -> ao.Lagrangian:
    return ao.Lagrangian(1, lambda ops, w, v: 0.5 * factor * ops.sum((v - (w - w**3)) ** 2))


def solve(kind: str, factor: float, solver: str) -> ao.Trajectory:
    if kind == "exit":
        return ao.minimize_action(
            double_well(factor), [-1.0], [0.0], horizon=8.0, steps=40, scheme="gauss2", solver=solver
        )
    if kind == "bounds":
        ground = ao.Lagrangian(1, lambda ops, w, v: factor * ops.sum(0.5 * v * v + w), bounds=(0.0, np.inf))
        solver = "ipopt" if solver == "newton" else solver
        return ao.minimize_action(ground, [1.0], [1.0], horizon=4.0, steps=20, solver=solver)
    problem = network(factor)
    start, end = problem.initial_weights(2), problem.initial_weights(3)
    fixed = end if kind == "fixed" else None
    return ao.minimize_action(problem, start, fixed, horizon=1.0, steps=6, solver=solver, guess="line")


@pytest.mark.parametrize("solver", ["newton", "ipopt", "fatrop"])
@pytest.mark.parametrize("kind", ["exit", "fixed", "free", "bounds"])
def test_factor_scales_the_action_and_nothing_else(kind: str, solver: str) -> None:
    expected = solve(kind, 1.0, solver)
    for factor in FACTORS:
        found = solve(kind, factor, solver)
        np.testing.assert_allclose(found.weights, expected.weights, rtol=0, atol=1e-6, err_msg=f"c = {factor:g}")
        assert found.action / factor == pytest.approx(expected.action, rel=1e-6, abs=1e-12)
        assert found.stats["scale"] / factor == pytest.approx(expected.stats["scale"], rel=1e-5)
        assert found.stats["residual"] <= 1e-8
        np.testing.assert_allclose(found.momenta / factor, expected.momenta, rtol=0, atol=1e-5)


def test_multipliers_come_back_in_the_action_s_unit() -> None:
    for factor in (1e-9, 1e9):
        carried = solve("bounds", factor, "ipopt").stats["multipliers"]
        expected = solve("bounds", 1.0, "ipopt").stats["multipliers"]
        for name in ("costates", "bounds"):
            np.testing.assert_allclose(carried[name] / factor, expected[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-10, 1.0, 1e10])
def test_lifted_and_joint_in_any_unit(factor: float) -> None:
    problem = network(factor)
    start, end = problem.initial_weights(2), problem.initial_weights(3)
    common: dict[str, Any] = {"horizon": 1.0, "steps": 4, "guess": "line", "metric": "joint"}
    newton = ao.minimize_action(problem, start, end, **common)
    lifted = ao.minimize_action(problem, start, end, **common, solver="ipopt", formulation="lifted")
    np.testing.assert_allclose(lifted.weights, newton.weights, rtol=0, atol=1e-6)
    costates = lifted.stats["multipliers"]["costates"]
    np.testing.assert_allclose(costates / factor, lifted.node_momenta / factor, atol=1e-5)


def test_a_wild_guess_does_not_loosen_the_tolerance(rng: np.random.Generator) -> None:
    """The residual is relative to the terms at the answer, however large those of the guess were."""
    wild = 100.0 * rng.standard_normal((41, 1))
    found = ao.minimize_action(double_well(1.0), [-1.0], [0.3], horizon=6.0, steps=40, guess=wild, throw=False)
    if found.success:
        assert found.stats["gradient_norm"] <= 1e-8 * max(found.stats["scale"], 1e-30)
        assert found.stats["scale"] < 100.0


def test_resting_is_stationary() -> None:
    """From a minimum to itself: all terms of the conditions vanish, and rounding must not be asked for more."""
    for solver in ("newton", "ipopt", "fatrop"):
        found = ao.minimize_action(double_well(1e-6), [-1.0], [-1.0], horizon=4.0, steps=20, solver=solver)
        assert abs(found.action) < 1e-30
        assert found.success


def test_gradients_that_are_not_finite_are_no_success() -> None:
    """A root pulls the path to where it has no slope."""
    root = ao.Lagrangian(1, lambda ops, w, v: ops.sum(0.5 * v * v + 10.0 * ops.sqrt(w)), name="root")
    with pytest.raises(ao.InputError, match="not finite at the guess"):
        ao.minimize_action(root, [0.0], [0.0], horizon=2.0, steps=10)
    for solver in ("newton", "ipopt"):
        found = ao.minimize_action(root, [1.0], [0.5], horizon=2.0, steps=10, solver=solver, throw=False)
        assert not found.success


@pytest.mark.parametrize("solver", ["newton", "ipopt", "fatrop", "sqpmethod"])
def test_a_guess_from_far_off_makes_no_end_look_right(solver: str) -> None:
    """Where terms are huge at the guess, residuals look small beside them that are large beside those of the path."""
    what = ao.Lagrangian(1, lambda ops, w, v: ops.sum(0.5 * v * v + ops.exp(w) - w))
    guess = np.zeros((41, 1))
    guess[1:-1] = 30.0
    found = ao.minimize_action(what, [0.0], [0.0], horizon=2.0, steps=40, solver=solver, guess=guess)
    assert found.success
    assert found.action == pytest.approx(2.0, abs=1e-6)  # at rest in the minimum of exp(w) - w
    np.testing.assert_allclose(found.weights, 0.0, atol=1e-4)


def test_an_end_that_stays_coarse_is_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "REFINED", 0)
    what = ao.Lagrangian(1, lambda ops, w, v: ops.sum(0.5 * v * v + ops.exp(w) - w))
    guess = np.zeros((41, 1))
    guess[1:-1] = 30.0
    with pytest.raises(ao.SolverError, match=r"ipopt: unresolved after .* beside those of the path"):
        ao.minimize_action(what, [0.0], [0.0], horizon=2.0, steps=40, solver="ipopt", guess=guess)
