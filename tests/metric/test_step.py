"""What a step of the layerwise metric must be, whatever computes it."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.metric.batched import METRICS
from actionopt.symbolic import module_function
from tests.metric.twins import dense_metric, make_problem, relative


@pytest.mark.parametrize("metric", METRICS)
def test_step_is_the_dense_step(metric: str) -> None:
    problem = make_problem(weight_decay=0.3)
    w = problem.initial_weights(0)
    dense = np.diag(problem.mass) if metric == "euclidean" else dense_metric(problem, w, metric == "joint")
    expected = w - 0.7 * np.linalg.solve(dense, problem.gradient(w))
    assert relative(ao.step(problem, w, 0.7, metric=metric), expected) < 1e-10


@pytest.mark.parametrize("metric", METRICS)
def test_duplicated_data_take_the_same_step(metric: str) -> None:
    once, thrice = (
        ao.Problem(
            [ao.Dense(3, 4, "tanh"), ao.Dense(4, 3)],
            np.tile(np.cos(np.arange(15.0)).reshape(5, 3), (copies, 1)),
            np.tile(np.arange(5) % 3, copies),
            ao.SoftmaxCrossEntropy(),
            mass=0.05,
        )
        for copies in (1, 3)
    )
    w = once.initial_weights(0)
    assert relative(ao.step(thrice, w, 1.0, metric=metric), ao.step(once, w, 1.0, metric=metric)) < 1e-9


@pytest.mark.parametrize("solve", ["auto", "primal", "dual"])
def test_one_step_solves_least_squares_as_the_mass_vanishes(solve: str, rng: np.random.Generator) -> None:
    inputs, targets = rng.standard_normal((30, 4)), rng.standard_normal((30, 3))
    problem = ao.Problem(ao.Dense(4, 3), inputs, targets, ao.SquaredError(), mass=1e-12, output_metric="euclidean")
    solution = np.linalg.lstsq(np.hstack([inputs, np.ones((30, 1))]), targets, rcond=None)[0]
    expected = np.concatenate([solution[:4].T.ravel(), solution[4]])
    assert relative(ao.step(problem, problem.initial_weights(0), 1.0, solve=solve), expected) < 1e-9


def linearised_control_problem(problem: ao.Problem, w: np.ndarray, step_size: float, joint: bool) -> np.ndarray:
    """Return the dw that minimises `dE + |dw|^2_G / (2 step_size)`, modules and loss linearised, by a QP solver."""
    found = ao.adjoints(problem, w)
    states = [problem.inputs, *found.states]
    n, samples = problem.size, problem.samples
    sizes = [module.out_size for module in problem.modules]
    starts = n + np.concatenate([[0], np.cumsum(np.array(sizes) * samples)])
    count = int(starts[-1])
    rows = []
    for a, (module, piece) in enumerate(zip(problem.modules, problem.slices, strict=True)):
        function = module_function(module)
        z, weights = ca.MX.sym("z", module.in_size), ca.MX.sym("w", module.weight_size)
        out = function(z, weights)
        jacobians = ca.Function("j", [z, weights], [ca.jacobian(out, z), ca.jacobian(out, weights)])
        for b in range(samples):
            by_state, by_weights = (np.array(j) for j in jacobians(states[a][b], w[piece]))
            row = np.zeros((sizes[a], count))
            row[:, piece] = by_weights
            if a:
                row[:, starts[a - 1] + b * sizes[a - 1] :][:, : sizes[a - 1]] = by_state
            row[:, starts[a] + b * sizes[a] :][:, : sizes[a]] = -np.eye(sizes[a])
            rows.append(row)
    hessian, linear = np.zeros((count, count)), np.zeros(count)
    hessian[:n, :n] = dense_metric(problem, w, joint) / step_size
    linear[:n] = problem.weight_decay * w
    linear[starts[-2] : starts[-1]] = found.adjoints[-1].ravel()  # (1/B) loss'(z_L)
    constraints = ca.DM(np.vstack(rows))
    solver = ca.conic(
        "qp",
        "qrqp",
        {"h": ca.DM(hessian).sparsity(), "a": constraints.sparsity()},
        {"print_iter": False, "print_header": False, "print_info": False},
    )
    solution = solver(h=hessian, g=linear, a=constraints, lba=0.0, uba=0.0)
    assert solver.stats()["success"]
    return np.array(solution["x"])[:n, 0]


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("module", ["Dense tanh", "Residual", "Gain"])
def test_the_step_solves_the_linearised_control_problem(module: str, joint: bool) -> None:
    problem = make_problem(module, weight_decay=0.1)
    w = problem.initial_weights(1)
    taken = ao.step(problem, w, 0.5, metric="joint" if joint else "layerwise") - w
    assert relative(linearised_control_problem(problem, w, 0.5, joint), taken) < 1e-9


@pytest.mark.parametrize(("value", "told"), [(np.nan, "nan"), (np.inf, "inf"), ("small", "small"), (True, "True")])
def test_wrong_step_size(value: object, told: str) -> None:
    problem = make_problem()
    with pytest.raises(ao.InputError, match=f"step_size must be a finite number, got '?{told}"):
        ao.step(problem, problem.initial_weights(0), value)  # type: ignore[arg-type]


def test_unknown_metric_and_solver() -> None:
    problem = make_problem()
    w = problem.initial_weights(0)
    with pytest.raises(ao.InputError, match="unknown metric 'natural'"):
        ao.step(problem, w, 0.1, metric="natural")
    with pytest.raises(ao.InputError, match="unknown solve 'dul'; did you mean 'dual'"):
        ao.step(problem, w, 0.1, solve="dul")


def test_a_gradient_that_overflows_is_named() -> None:
    problem = ao.Problem(ao.Dense(1, 1, "exp"), [[1.0]], [[0.0]], ao.SquaredError())
    with pytest.raises(ao.InputError, match="the gradient is not finite at these weights"):
        ao.step(problem, np.array([400.0, 0.0]), 0.1, metric="euclidean")
