"""The proximal step: implicit by an NLP, explicit by its quadratic program, in every metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import actionopt as ao
from tests.constrained.systems import SYSTEMS

METRICS = ("euclidean", "layerwise", "joint")
NAMES = ["dense, B = every width", "softmax", "logistic", "users' modules", "composites", "landscape"]
STEP = 0.3


def dense_metric(problem: ao.Problem, w: np.ndarray, metric: str) -> np.ndarray:
    if metric == "euclidean":
        return np.diag(problem.mass)
    return ao.LayerMetric(problem, w, joint=metric == "joint").dense()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", NAMES)
def test_linearised_problem_gives_the_explicit_step(name: str, metric: str) -> None:
    problem = SYSTEMS[name]()
    w = problem.initial_weights(3)
    explicit = -STEP * np.linalg.solve(dense_metric(problem, w, metric), problem.gradient(w))
    solution = ao.proximal_step(problem, w, STEP, linearized=True, metric=metric)
    np.testing.assert_allclose(solution.weights - w, explicit, rtol=1e-9, atol=1e-9 * abs(explicit).max())
    assert solution.stats["solver"] == "qrqp"
    assert solution.stats["formulation"] == "linearized"
    for multiplier, adjoint in zip(solution.multipliers, ao.adjoints(problem, w).adjoints, strict=True):
        np.testing.assert_allclose(multiplier, adjoint, rtol=1e-9, atol=1e-11)


def test_the_metric_is_the_step_s_own_by_default() -> None:
    problem = SYSTEMS["softmax"]()
    w = problem.initial_weights(3)
    linearised = ao.proximal_step(problem, w, STEP, linearized=True)
    np.testing.assert_allclose(linearised.weights, ao.step(problem, w, STEP), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod", "osqp", "qpoases"])
def test_linearised_problem_by_other_solvers(solver: str) -> None:
    problem = SYSTEMS["softmax"]()
    w = problem.initial_weights(3)
    solution = ao.proximal_step(problem, w, STEP, linearized=True, solver=solver, metric="euclidean")
    np.testing.assert_allclose(solution.weights - w, -STEP * problem.gradient(w) / problem.mass, rtol=1e-7, atol=1e-9)


def test_masses_of_modules_divide_the_step() -> None:
    base = SYSTEMS["composites"]()
    mass = np.linspace(0.5, 3.0, base.size)
    problem = ao.Problem(base.modules, base.inputs, base.targets, base.loss, mass=mass)
    w = problem.initial_weights(1)
    solution = ao.proximal_step(problem, w, STEP, linearized=True, metric="euclidean")
    np.testing.assert_allclose(solution.weights - w, -STEP / mass * problem.gradient(w), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["softmax", "users' modules"])
def test_implicit_step_minimises_energy_plus_distance(name: str, metric: str) -> None:
    problem = SYSTEMS[name]()
    w = problem.initial_weights(3)
    g = dense_metric(problem, w, metric)
    solution = ao.proximal_step(problem, w, STEP, metric=metric)
    condensed = ao.proximal_step(problem, w, STEP, metric=metric, formulation="condensed")
    np.testing.assert_allclose(condensed.weights, solution.weights, atol=1e-6)
    # the implicit equation w' = w - eta G^{-1} dE(w')
    residual = solution.weights - w + STEP * np.linalg.solve(g, problem.gradient(solution.weights))
    assert abs(residual).max() < 1e-6
    assert solution.gradient_norm < 1e-7
    reference = minimize(
        lambda v: problem.energy(v) + (v - w) @ g @ (v - w) / (2 * STEP),
        w,
        jac=lambda v: problem.gradient(v) + g @ (v - w) / STEP,
        tol=1e-10,
    )
    np.testing.assert_allclose(solution.weights, reference.x, atol=1e-5)


def test_small_implicit_steps_approach_explicit_ones() -> None:
    problem = SYSTEMS["softmax"]()
    w = problem.initial_weights(3)
    apart = []
    for step in (1e-2, 1e-3):
        implicit, explicit = (ao.proximal_step(problem, w, step, linearized=flag).weights for flag in (False, True))
        apart.append(abs(implicit - explicit).max())
    assert apart[0] / apart[1] == pytest.approx(100, rel=0.2)


def test_fatrop_takes_the_layerwise_metric_stage_by_stage() -> None:
    problem = SYSTEMS["softmax"]()
    w = problem.initial_weights(3)
    fatrop, ipopt = (ao.proximal_step(problem, w, STEP, metric="layerwise", solver=s) for s in ("fatrop", "ipopt"))
    np.testing.assert_allclose(fatrop.weights, ipopt.weights, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step_size": 0.0}, "step_size must be a positive number, got 0.0"),
        ({"step_size": "big"}, "step_size must be a positive number, got 'big'"),
        ({"metric": "layer"}, r"unknown metric 'layer'; did you mean 'layerwise'\?"),
        ({"w": [1.0]}, r"starting weights must have length 38, got shape \(1,\)"),
        ({"solver": "qrpq", "linearized": True}, r"unknown QP solver 'qrpq'; did you mean 'qrqp'\?"),
        ({"solver": "qrqp"}, "unknown solver 'qrqp'"),
        ({"solver": "fatrop", "metric": "joint"}, 'metric "joint" couples all modules'),
        ({"options": {"tool": 1}, "linearized": True}, "unknown option of solver 'qrqp' 'tool'"),
        ({"tol": 0.0}, "tol must be a positive number"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    problem = SYSTEMS["softmax"]()
    assert problem.size == 38
    given = {"w": problem.initial_weights(), "step_size": STEP, **arguments}
    with pytest.raises(ao.InputError, match=message):
        ao.proximal_step(problem, given.pop("w"), given.pop("step_size"), **given)


def test_solver_that_stops_early() -> None:
    problem = SYSTEMS["softmax"]()
    w = problem.initial_weights(3)
    with pytest.raises(ao.SolverError, match="ipopt: iteration limit") as caught:
        ao.proximal_step(problem, w, STEP, max_iterations=1)
    assert caught.value.result.status == "iteration limit"
    assert not ao.proximal_step(problem, w, STEP, max_iterations=1, throw=False).success
