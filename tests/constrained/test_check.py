"""Multipliers are adjoints: every shipped problem and every kind of system, by three solvers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.constrained import fixed_weights
from actionopt.constrained.graph import SymbolicNetwork
from tests.constrained.systems import SYSTEMS, data

ROOT = Path(__file__).parents[2]
SOLVERS = ("ipopt", "fatrop", "sqpmethod")
SMALL: dict[str, dict[str, Any]] = {"digits": {"samples": 32}, "spirals": {"samples": 40}}
SHIPPED = sorted(path.stem for path in (ROOT / "problems").glob("*.py") if not path.stem.startswith("_"))


def shipped(name: str) -> ao.Problem:
    problem = ao.load_problem(ROOT / "problems" / f"{name}.py", **SMALL.get(name, {}))
    if not isinstance(problem, ao.Problem):
        pytest.skip("a Lagrangian has no modules")
    return problem


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_problems(name: str, solver: str) -> None:
    check = ao.check_adjoints(shipped(name), solver=solver)
    assert check.ok, check.message
    assert check.relative_error <= 1e-10
    assert check.gradient_error <= 1e-10


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_of_every_kind(name: str, solver: str) -> None:
    problem = SYSTEMS[name]()
    w = problem.initial_weights(4)
    check = ao.check_adjoints(problem, w, solver=solver)
    assert check.ok, check.message
    assert check.relative_error <= 1e-10
    expected = ao.adjoints(problem, w)
    assert len(check.multipliers) == len(check.modules) == len(problem.modules)
    for multiplier, adjoint, module in zip(check.multipliers, expected.adjoints, problem.modules, strict=True):
        assert multiplier.shape == (problem.samples, module.out_size)
        np.testing.assert_allclose(multiplier, adjoint, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(check.gradient_multipliers, expected.gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solver", ["uno", "alpaqa", "qrsqp"])
def test_other_installed_solvers(solver: str) -> None:
    check = ao.check_adjoints(SYSTEMS["softmax"](), solver=solver, tol=1e-6)
    assert check.ok, check.message


def test_multipliers_do_not_come_from_the_start() -> None:
    # away from the states of the weights the solver must take Newton steps to find them, and the multipliers with them
    problem = SYSTEMS["users' modules"]()
    w = problem.initial_weights(2)
    program = fixed_weights.FixedWeights(
        SymbolicNetwork(problem), solver="ipopt", tol=1e-10, max_iterations=100, options=None
    )
    expected = ao.adjoints(problem, w)
    solution, multipliers = program.solve(w, [np.ones_like(z) for z in expected.states], 1.0)
    assert solution.stats["iterations"] > 1
    for multiplier, adjoint in zip(multipliers, expected.adjoints, strict=True):
        np.testing.assert_allclose(multiplier, adjoint, rtol=1e-8, atol=1e-12)


def test_one_build_serves_other_weights() -> None:
    problem = SYSTEMS["users' modules"]()
    program = fixed_weights.FixedWeights(
        SymbolicNetwork(problem), solver="fatrop", tol=1e-10, max_iterations=100, options=None
    )
    for seed in (0, 1):
        w = problem.initial_weights(seed)
        expected = ao.adjoints(problem, w)
        _, multipliers = program.solve(w, expected.states, 1.0)
        np.testing.assert_allclose(multipliers[0], expected.adjoints[0], rtol=1e-9, atol=1e-13)


def test_a_wrong_derivative_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(ao.Dense):
        def vjp(self, ops: Any, w: Any, z: Any, out: Any, adjoint: Any) -> Any:
            dw, dz = super().vjp(ops, w, z, out, adjoint)
            return dw, 1.001 * dz

    problem = ao.Problem([ao.Dense(3, 3, "tanh"), Wrong(3, 2)], data(3), data(3, 2), ao.SquaredError())
    check = ao.check_adjoints(problem)
    assert not check.ok
    assert check.status == "converged"
    assert check.relative_error == pytest.approx(check.max_error / max(abs(a).max() for a in check.adjoints))
    assert 1e-5 < check.relative_error < 1e-2
    assert check.modules[1].max_error < 1e-12 < check.modules[0].max_error
    assert "multipliers and adjoints differ" in check.message


def test_relative_error_is_free_of_scale() -> None:
    def scaled(factor: float) -> ao.Problem:
        loss = ao.CustomLoss(lambda ops, y, t: factor * ops.sum((y - t) * (y - t)))
        return ao.Problem([ao.Dense(3, 3, "tanh"), ao.Dense(3, 2)], data(3), data(3, 2), loss)

    for factor in (1e-9, 1e9):
        for solver in SOLVERS:
            check = ao.check_adjoints(scaled(factor), solver=solver)
            assert check.ok, check.message
            assert check.relative_error <= 1e-10


def test_zero_adjoints_are_met() -> None:
    problem = ao.Problem(ao.Dense(2, 1), data(3, 2), np.zeros((3, 1)), ao.SquaredError())
    check = ao.check_adjoints(problem, np.zeros(3))
    assert check.ok
    assert check.max_error == 0.0


def test_gradient_against_casadi_s_own_derivative() -> None:
    problem = SYSTEMS["composites"]()
    w, symbol = problem.initial_weights(1), ca.MX.sym("w", problem.size)
    graph = SymbolicNetwork(problem)
    energy = graph.mean_loss(graph.forward(graph.pieces(symbol)))
    gradient = ca.Function("gradient", [symbol], [ca.gradient(energy, symbol)])
    np.testing.assert_allclose(gradient(w).full().reshape(-1), problem.gradient(w), rtol=1e-11, atol=1e-14)


def test_deep_chain() -> None:
    problem = ao.Problem([ao.Dense(4, 4, "tanh") for _ in range(60)], data(8, 4), data(8, 4, 6), ao.SquaredError())
    for solver in SOLVERS:
        check = ao.check_adjoints(problem, solver=solver)
        assert check.relative_error <= 1e-10


def test_result_is_readable() -> None:
    check = ao.check_adjoints(SYSTEMS["softmax"]())
    assert "1 Dense" in check.table()
    assert "relative error" in check._repr_html_()
    assert check.solver in repr(check)
    assert set(check.stats) == {"layers", "gradient"}
    assert dataclasses.is_dataclass(check.modules[0])
    ax = check.plot()
    assert ax.get_yscale() == "log"
    assert len(ax.lines) == 2


def test_solver_that_stops_early_raises_with_its_result() -> None:
    problem = SYSTEMS["softmax"]()
    limited: dict[str, Any] = {"tol": 1e-18, "max_iterations": 3}  # finer than double precision
    with pytest.raises(ao.SolverError, match=r"ipopt: .* \(stationarity .*; .*loos") as caught:
        ao.check_adjoints(problem, **limited)
    assert isinstance(caught.value.result, ao.AdjointCheck)
    check = ao.check_adjoints(problem, throw=False, **limited)
    assert not check.ok
    assert check.status != "converged"
    assert np.isfinite(check.relative_error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "ipot"}, r"unknown solver 'ipot'; did you mean 'ipopt'\? Known: .*fatrop"),
        ({"options": {"tol": 1e-3}}, r"unknown option of solver 'ipopt' 'tol'.*go below its name, \{'ipopt'"),
        ({"w": np.zeros(3)}, r"weights must have length 45, got shape \(3,\)"),
        ({"w": np.full(45, np.nan)}, "weights must be finite, got nan"),
        ({"w": np.zeros((2, 45))}, r"weights must be one point \(45,\), got shape \(2, 45\)"),
        ({"tol": 0.0}, "tol must be a positive number"),
        ({"max_iterations": 0}, "max_iterations must be a whole number >= 1, got 0"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    problem = ao.Problem([ao.Dense(3, 6), ao.Dense(6, 3)], data(3), data(3), ao.SquaredError())
    assert problem.size == 45
    with pytest.raises(ao.InputError, match=message):
        ao.check_adjoints(problem, **arguments)


def test_states_that_overflow_are_named() -> None:
    grow = ao.CustomLoss(lambda ops, y, t: ops.sum(ops.exp(y)))
    problem = ao.Problem([ao.Dense(2, 2), ao.Dense(2, 2)], data(2, 2), None, grow)
    with pytest.raises(ao.InputError, match="the adjoint of module 2 Dense is not finite at these weights"):
        ao.check_adjoints(problem, np.full(problem.size, 1e3))
