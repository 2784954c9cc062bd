"""What a step of the layerwise metric must be, whatever computes it."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.metric.kinds import METRICS
from actionopt.symbolic import module_function
from tests.metric.twins import dense_metric, make_problem, relative
from tests.networks import NETWORKS


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
    with pytest.raises(ao.InputError, match=f"step_size must be a finite number or 'model', got '?{told}"):
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


@pytest.fixture
def two_layers(rng: np.random.Generator) -> ao.Problem:
    modules = [ao.Dense(3, 5, "tanh"), ao.Dense(5, 2)]
    return ao.Problem(modules, rng.standard_normal((6, 3)), rng.standard_normal((6, 2)), ao.SquaredError(), mass=0.05)


def test_the_model_step_minimises_the_joint_model(two_layers: ao.Problem, rng: np.random.Generator) -> None:
    problem, w = two_layers, two_layers.initial_weights(1)
    metric, joint = ao.LayerMetric(problem, w), ao.LayerMetric(problem, w, joint=True).dense()
    x, d = metric.solve(metric.gradient), rng.standard_normal(problem.size)
    np.testing.assert_allclose(metric.curvature(d), d @ joint @ d, rtol=1e-12)
    np.testing.assert_allclose(metric.change(d), d @ joint @ d - d @ (problem.mass * d), rtol=1e-12)
    expected = (metric.gradient @ x) / (x @ joint @ x)
    assert 0.0 < expected < 1.0
    np.testing.assert_allclose(ao.step(problem, w, "model", trust=np.inf), w - expected * x, rtol=1e-12)
    joint_x = ao.LayerMetric(problem, w, joint=True).solve(metric.gradient)
    np.testing.assert_allclose(ao.step(problem, w, "model", metric="joint", trust=np.inf), w - joint_x, rtol=1e-10)


def test_trust_bounds_the_change_of_outputs(two_layers: ao.Problem) -> None:
    problem, w = two_layers, two_layers.initial_weights(1)
    metric = ao.LayerMetric(problem, w)
    for step_size in ("model", 0.9):
        moved = w - ao.step(problem, w, step_size, trust=1e-3)
        np.testing.assert_allclose(metric.change(moved), 1e-3, rtol=1e-10)
    free = w - ao.step(problem, w, 0.9, trust=np.inf)
    np.testing.assert_allclose(free, 0.9 * metric.solve(metric.gradient), rtol=1e-10)


def test_momentum_is_one_line(two_layers: ao.Problem) -> None:
    problem, w = two_layers, two_layers.initial_weights(1)
    memory, previous = ao.Momentum(0.6), np.zeros(problem.size)
    for _ in range(3):
        metric = ao.LayerMetric(problem, w)
        previous = metric.solve(metric.gradient + 0.6 * problem.mass * previous)
        expected = w - 0.05 * previous
        w = ao.step(problem, w, 0.05, momentum=memory)
        np.testing.assert_allclose(w, expected, rtol=1e-12)
        np.testing.assert_allclose(memory.direction, previous, rtol=1e-10)
    first = two_layers.initial_weights(1)
    np.testing.assert_array_equal(ao.step(problem, first, 0.1, momentum=0.6), ao.step(problem, first, 0.1))


def test_momentum_uphill_is_given_up(two_layers: ao.Problem) -> None:
    problem, w = two_layers, two_layers.initial_weights(1)
    memory = ao.Momentum(0.9)
    memory.direction = -1e3 * problem.gradient(w)
    np.testing.assert_allclose(ao.step(problem, w, 0.1, momentum=memory), ao.step(problem, w, 0.1), rtol=1e-12)


def one_by_one(problem: ao.Problem, points: np.ndarray, size: float | str, **options: Any) -> np.ndarray:
    """Take two steps from each point, with a memory of its own."""
    found = []
    for w in points:
        memory = ao.Momentum(options["momentum"])
        for _ in range(2):
            w = ao.step(problem, w, size, **{**options, "momentum": memory})
        found.append(w)
    return np.stack(found)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("size", "trust"), [(0.3, None), (0.3, 1e-3), ("model", None), ("model", 1e-2)])
@pytest.mark.parametrize("momentum", [0.0, 0.6])
@pytest.mark.parametrize("loss", ["squared error", "softmax"])
def test_many_points_step_as_each_would(
    metric: str, size: float | str, trust: float | None, momentum: float, loss: str, rng: np.random.Generator
) -> None:
    problem = make_problem(loss=loss, weight_decay=0.1)
    points, memory = rng.standard_normal((5, problem.size)), ao.Momentum(momentum)
    options = {"metric": metric, "trust": trust}
    expected = one_by_one(problem, points, size, momentum=momentum, **options)
    for _ in range(2):
        points = ao.step(problem, points, size, momentum=memory, **options)
    np.testing.assert_allclose(points, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_many_points_of_networks(name: str) -> None:
    problem = NETWORKS[name]
    points = np.stack([problem.initial_weights(seed) for seed in range(3)])
    expected = one_by_one(problem, points, "model", momentum=0.5)
    memory = ao.Momentum(0.5)
    for _ in range(2):
        points = ao.step(problem, points, "model", momentum=memory)
    np.testing.assert_allclose(points, expected, rtol=1e-9, atol=1e-11)


def test_large_blocks_step_one_by_one(two_layers: ao.Problem, rng: np.random.Generator, monkeypatch: Any) -> None:
    points = rng.standard_normal((3, two_layers.size))
    together = ao.step(two_layers, points, 0.3)
    monkeypatch.setattr("actionopt.metric.batched.ROOM_NUMBERS", 1.0)  # a point a stack
    np.testing.assert_array_equal(ao.step(two_layers, points, 0.3), together)
    monkeypatch.setattr("actionopt.metric.batched.STACK_WORK", 1.0)
    singly = np.stack([ao.step(two_layers, w, 0.3) for w in points])
    np.testing.assert_array_equal(ao.step(two_layers, points, 0.3), singly)


def test_a_point_that_cannot_step_is_named(two_layers: ao.Problem) -> None:
    points = np.stack([two_layers.initial_weights(seed) for seed in range(3)])
    points[1] *= 1e200
    with pytest.raises(ao.SolverError, match=r"point 1 of 3: .* ill-conditioned"):
        ao.step(two_layers, points, 0.3)


def test_no_points_take_no_step(two_layers: ao.Problem) -> None:
    assert ao.step(two_layers, np.zeros((0, two_layers.size)), 0.3).shape == (0, two_layers.size)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
@pytest.mark.parametrize("loss", ["squared", "classes"])
def test_a_model_step_does_not_depend_on_units(scale: float, loss: str, rng: np.random.Generator) -> None:
    """Loss and mass times c: the same step, trust and momentum included."""
    x, targets = rng.standard_normal((5, 3)), rng.standard_normal((5, 4)) if loss == "squared" else np.arange(5) % 4

    def trained(c: float) -> np.ndarray:
        kind = ao.SquaredError() if loss == "squared" else ao.SoftmaxCrossEntropy()
        problem = ao.Problem([ao.Cost(ao.Dense(3, 4)(ao.Input(x)), kind, targets, weight=c)], mass=0.1 * c)
        w, memory = 5.0 * problem.initial_weights(0), ao.Momentum(0.9)
        for _ in range(4):
            w = ao.step(problem, w, "model", momentum=memory)
        return w

    np.testing.assert_allclose(trained(scale), trained(1.0), rtol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\), got 1.0"),
        ({"momentum": True}, "momentum must be a number"),
        ({"trust": 0.0}, "trust must be a positive number"),
        ({"trust": "wide"}, "trust must be a positive number"),
    ],
)
def test_wrong_options_of_a_step(two_layers: ao.Problem, options: dict, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.step(two_layers, two_layers.initial_weights(), "model", **options)
    with pytest.raises(ao.InputError, match="step_size must be a finite number or 'model', got 'models'"):
        ao.step(two_layers, two_layers.initial_weights(), "models")
