"""Contraction rates: closed forms, twins by finite differences and by CasADi, invariance, rejections."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigvalsh, expm

import actionopt as ao
from actionopt.action.flow import flow_velocity
from actionopt.contraction.displacement import displacement
from actionopt.metric.batched import BatchedMetric
from actionopt.symbolic import loss_function, module_function

METRICS = ("layerwise", "joint", "euclidean")


class Square(ao.Module):
    """A user's module with a forward alone."""

    in_size, out_size, weight_size = 3, 3, 6

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (3,), (3,))
        return z + a * ops.tanh(b * z)


def network(loss: ao.Loss | None = None, **options: Any) -> ao.Problem:
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((5, 2))
    targets = rng.integers(0, 3, 5) if loss is None else rng.uniform(0.0, 1.0, (5, 3))
    modules = [ao.Dense(2, 3, "tanh"), Square(), ao.Dense(3, 3)]
    return ao.Problem(modules, inputs, targets, loss or ao.SoftmaxCrossEntropy(), **{"mass": 0.2, **options})


class Bowl(ao.Loss):
    """`1/2 y^T H y`."""

    def __init__(self, hessian: np.ndarray) -> None:
        self.hessian = hessian

    def value(self, ops: Any, y: Any, target: Any) -> Any:
        return 0.5 * ops.sum(y * ops.matmul(y, ops.row(self.hessian)))


def spd(rng: np.random.Generator, n: int) -> np.ndarray:
    a = rng.standard_normal((n, n))
    return a @ a.T / n + 0.1 * np.eye(n)


def random_bowl(seed: int, n: int) -> tuple[ao.Problem, np.ndarray]:
    rng = np.random.default_rng(seed)
    hessian = rng.standard_normal((n, n)) + rng.standard_normal() * np.eye(n)
    hessian = hessian + hessian.T
    mass = rng.uniform(0.1, 10.0, n)
    return ao.Problem(ao.Parameter(n), None, None, Bowl(hessian), mass=mass, output_metric=None), hessian


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_quadratic_energy_constant_metric(seed: int, n: int) -> None:
    problem, hessian = random_bowl(seed, n)
    rng = np.random.default_rng(seed + 1)
    exact = eigvalsh(hessian, np.diag(problem.mass))[0]
    for metric in METRICS:
        rate = ao.contraction_rate(problem, 1e3 * rng.standard_normal(n), metric=metric)
        assert rate == pytest.approx(exact, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e6])
@pytest.mark.parametrize("metric", METRICS)
def test_linear_least_squares(metric: str, scale: float) -> None:
    """The output metric of a linear map is constant too: G = D + X^T X / B, far from the minimum as well."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 1))
    problem = ao.Problem(ao.Dense(4, 1, bias=False), x, y, ao.SquaredError(), mass=0.3)
    hessian = x.T @ x / 20
    g = 0.3 * np.eye(4) + (hessian if metric != "euclidean" else 0.0)
    rate = ao.contraction_rate(problem, scale * rng.standard_normal(4), metric=metric)
    assert rate == pytest.approx(eigvalsh(hessian, g)[0], abs=1e-10)


@pytest.mark.parametrize("output_metric", ["fisher", "euclidean"])
@pytest.mark.parametrize("loss", [None, ao.Logistic(), ao.SquaredError()], ids=["softmax", "logistic", "squared"])
@pytest.mark.parametrize("metric", METRICS)
def test_against_finite_differences_of_the_flow_map(metric: str, loss: ao.Loss | None, output_metric: str) -> None:
    """Over a short time h the flow map F takes `d^T G d` to `(F' d)^T G(F) (F' d)`."""
    problem = network(loss, output_metric=output_metric)
    w = problem.initial_weights(4)
    exact = ao.contraction_rate(problem, w, metric=metric)
    assert flow_map_rate(problem, w, metric) == pytest.approx(exact, rel=2e-5, abs=2e-5)


def flow_map_rate(problem: ao.Problem, w: np.ndarray, metric: str, h: float = 1e-4, delta: float = 1e-4) -> float:
    """Rate of shrinking over [-h, h], from central differences of a Runge-Kutta flow map about its middle."""
    phi = flow_velocity(problem, metric)

    def flow_map(w: np.ndarray, h: float) -> np.ndarray:
        k1 = phi(w)
        k2 = phi(w + 0.5 * h * k1)
        k3 = phi(w + 0.5 * h * k2)
        return w + h / 6 * (k1 + 2 * k2 + 2 * k3 + phi(w + h * k3))

    unit = delta * np.eye(len(w))
    forms = []
    for time in (-h, h):
        slopes = (flow_map(w + unit, time) - flow_map(w - unit, time)) / (2 * delta)
        at = BatchedMetric(problem, flow_map(w[None], time), metric=metric)
        forms.append(slopes @ at.product(slopes[:, None, :])[:, 0].T)
    middle = BatchedMetric(problem, w[None], metric=metric).product(np.eye(len(w))[:, None, :])[:, 0]
    change = (forms[1] - forms[0]) / (2 * h)
    return -0.5 * float(eigvalsh(0.5 * (change + change.T), middle)[-1])


def test_twin_by_casadi() -> None:
    """Metric, its rate of change and the Jacobian of the momentum, formed symbolically for a small net."""
    problem = network()
    w = problem.initial_weights(2)
    local = displacement(problem, w)
    x, u = ca.SX.sym("w", problem.size), ca.SX.sym("u", problem.size)
    g, metric = casadi_gradient_and_metric(problem, x)
    everything = ca.Function(
        "f",
        [x, u],
        [metric, ca.jtimes(ca.reshape(metric, -1, 1), x, u), ca.jacobian(metric @ u + g, x), -ca.solve(metric, g)],
    )
    expected = [np.array(part) for part in everything(w, local.velocity)]
    found = local.metric, local.metric_rate.reshape(-1, 1), local.momentum_jacobian, local.velocity[:, None]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def casadi_gradient_and_metric(problem: ao.Problem, x: ca.SX) -> tuple[ca.SX, ca.SX]:
    modules = [module_function(module) for module in problem.modules]
    loss = loss_function(problem.loss, 3, 3)
    energy, metric = 0.0, ca.SX(np.diag(problem.mass))
    y = ca.SX.sym("y", 3)
    hessian = None
    for row, target in zip(problem.inputs, problem.target_array, strict=True):
        z = ca.SX(row)
        for function, piece in zip(modules, problem.slices, strict=True):
            z = function(z, x[piece])
        energy += loss(z, target) / problem.samples
        hessian = ca.Function("h", [y], [ca.hessian(loss(y, target), y)[0]])
        jacobian = ca.jacobian(z, x)
        whole = jacobian.T @ hessian(z) @ jacobian / problem.samples
        metric += ca.diagcat(*[whole[piece, piece] for piece in problem.slices])
    return ca.gradient(energy, x), metric


class Mixed(ao.Module):
    """A tanh unit and a gain, whose natural weights are `M w`."""

    in_size, out_size, weight_size = 2, 1, 3

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        natural = ops.matmul(ops.unpack(w, (3,)), ops.row(self.matrix.T))
        a, b, c = ops.columns(natural)
        x, y = ops.columns(z)
        return c * ops.tanh(a * x + b * y)


@pytest.mark.parametrize("metric", METRICS)
@given(seed=st.integers(0, 10_000))
def test_invariant_under_linear_change_of_weights(seed: int, metric: str) -> None:
    """In weights `v = A w`, A = diag(a) Q with Q orthogonal, the mass mu I becomes A^{-T} mu A^{-1} = mu / a^2."""
    rng = np.random.default_rng(seed)
    x, y, w = rng.standard_normal((6, 2)), rng.standard_normal((6, 1)), rng.standard_normal(3)
    a, q = rng.uniform(0.2, 5.0, 3), np.linalg.qr(rng.standard_normal((3, 3)))[0]
    change = a[:, None] * q
    plain = ao.Problem(Mixed(np.eye(3)), x, y, ao.SquaredError(), mass=0.5)
    moved = ao.Problem(Mixed(np.linalg.inv(change)), x, y, ao.SquaredError(), mass=0.5 / a**2)
    first, second = ao.contraction_at(plain, w, metric=metric), ao.contraction_at(moved, change @ w, metric=metric)
    assert second.rate == pytest.approx(first.rate, rel=1e-9, abs=1e-9)
    turned = change @ first.direction
    np.testing.assert_allclose(abs(turned), abs(second.direction), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_direction_attains_the_rate(metric: str) -> None:
    problem = network()
    w = problem.initial_weights(7)
    found = ao.contraction_at(problem, w, metric=metric)
    local = displacement(problem, w, metric)
    assert found.rate == pytest.approx(ao.contraction_rate(problem, w, metric=metric), rel=1e-12)
    assert found.direction @ local.metric @ found.direction == pytest.approx(1.0)
    assert found.direction @ local.rate_form @ found.direction == pytest.approx(found.rate)
    assert found.contracting == (found.rate > 0)
    assert repr(found).startswith("Contraction(rate ")


def test_blocks_of_directions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = network()
    w = problem.initial_weights()
    whole = ao.contraction_rate(problem, w)
    monkeypatch.setattr("actionopt.contraction.displacement.BLOCK_NUMBERS", 1)
    assert ao.contraction_rate(problem, w) == pytest.approx(whole, rel=1e-12)


def test_samples_as_many_as_a_layer_is_wide() -> None:
    rng = np.random.default_rng(0)
    problem = ao.Problem([ao.Dense(3, 3, "tanh"), ao.Dense(3, 3)], rng.standard_normal((3, 3)), [0, 1, 2],
                         ao.SoftmaxCrossEntropy(), mass=0.1)  # fmt: skip
    w = problem.initial_weights()
    assert flow_map_rate(problem, w, "layerwise") == pytest.approx(ao.contraction_rate(problem, w), rel=1e-5)


def test_rates_along_a_trajectory_and_along_weights() -> None:
    problem = ao.load_problem("problems/xor.py", width=2)
    trajectory = ao.flow(problem, horizon=0.5, steps=4)
    rates = ao.rates_along(problem, trajectory)
    assert rates.shape == (5,)
    np.testing.assert_array_equal(rates, ao.contraction_rate.along(problem, trajectory.weights))
    assert rates[3] == ao.contraction_rate(problem, trajectory.weights[3])


def test_flow_of_a_quadratic_contracts_exactly_so() -> None:
    problem, hessian = random_bowl(5, 4)
    rate = ao.contraction_rate(problem, np.zeros(4))
    half = np.sqrt(problem.mass)
    for t in (0.1, 1.0):
        moved = half[:, None] * expm(-hessian * t / problem.mass[:, None]) / half
        assert np.linalg.norm(moved, 2) == pytest.approx(np.exp(-rate * t), rel=1e-9)


def relu_net() -> ao.Problem:
    return ao.load_problem("problems/xor.py", activation="relu")


def test_relu_at_a_kink_is_named() -> None:
    problem = relu_net()
    w = problem.initial_weights()
    w[:2] = 1.0  # the first unit's weights and bias put two corners of the square on its kink
    w[8] = 0.0
    with pytest.raises(ao.InputError, match=r"not smooth .* relu in module 1 Dense is at its kink"):
        ao.contraction_rate(problem, w)
    w[8] = 0.1
    assert np.isfinite(ao.contraction_rate(problem, w))


def test_relu_that_is_zero_for_all_weights_is_no_kink() -> None:
    problem = ao.Problem([ao.Dense(2, 2, "relu", bias=False), ao.Dense(2, 1)], [[0.0, 0.0], [1.0, 2.0]], [[1.0], [0.0]],
                         ao.SquaredError())  # fmt: skip
    assert np.isfinite(ao.contraction_rate(problem, problem.initial_weights()))


def test_kinks_of_loss_and_output_metric_are_named() -> None:
    distance = ao.CustomLoss(lambda ops, y, target: ops.sum(ops.abs(y)), name="distance")
    problem = ao.Problem(ao.Parameter(1), None, None, distance, output_metric=None)
    with pytest.raises(ao.InputError, match="abs in the loss, distance, is at its kink"):
        ao.contraction_rate(problem, [0.0])

    def factor(ops: Any, y: Any, target: Any) -> Any:
        return [1.0 + ops.relu(y)]

    problem = ao.Problem(ao.Parameter(1), None, [[1.0]], ao.SquaredError(), output_metric=factor)
    with pytest.raises(ao.InputError, match="relu in the output metric is at its kink"):
        ao.contraction_rate(problem, [0.0])
    assert ao.contraction_rate(problem, [0.0], metric="euclidean") == pytest.approx(1.0)


def test_user_output_metric() -> None:
    def factor(ops: Any, y: Any, target: Any) -> Any:
        return [ops.exp(y), 1.0 + y * y]

    problem = ao.Problem(ao.Dense(1, 2, "tanh"), [[0.4], [-1.0]], [[0.1, 0.2], [0.5, -0.3]], ao.SquaredError(),
                         output_metric=factor, mass=0.3)  # fmt: skip
    w = problem.initial_weights(1)
    assert flow_map_rate(problem, w, "layerwise") == pytest.approx(ao.contraction_rate(problem, w), rel=1e-4)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(3), r"weights must have length 27, got shape \(3,\)"),
        (np.full(27, np.nan), "weights must be finite"),
        (np.zeros((2, 27)), r"one point \(27,\), got shape \(2, 27\)"),
    ],
)
def test_weights_that_cannot_be_used(weights: np.ndarray, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.contraction_rate(network(), weights)


def test_unknown_metric_is_named() -> None:
    with pytest.raises(ao.InputError, match="did you mean 'joint'"):
        ao.contraction_rate(network(), np.zeros(27), metric="join")


def test_overflow_names_what_is_not_finite() -> None:
    exponential = ao.Problem([ao.Dense(1, 1, "exp"), ao.Dense(1, 1)], [[1.0]], [[0.0]], ao.SquaredError())
    with pytest.raises(ao.InputError, match="the gradient is not finite"):
        ao.contraction_rate(exponential, [800.0, 0.0, 1.0, 0.0])
    with pytest.raises(ao.InputError, match="node 1: the gradient is not finite"):
        ao.rates_along(exponential, [[0.0, 0.0, 1.0, 0.0], [800.0, 0.0, 1.0, 0.0]])
    flat = ao.CustomLoss(lambda ops, y, target: ops.sum(0.0 * y))  # no gradient, while the metric squares e^400
    steep = ao.Problem(ao.Dense(1, 1, "exp", bias=False), [[1.0]], None, flat, output_metric="euclidean")
    with pytest.raises(ao.InputError, match="the metric is not finite"):
        ao.contraction_rate(steep, [400.0])


class Shift(ao.Module):
    in_size, out_size, weight_size = 2, 2, 2

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return z + ops.unpack(w, (2,))


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_weights_added_to_inputs_count_once_a_sample(samples: int) -> None:
    """E = 1/(2B) sum |x_b + w|^2 has the Hessian I, and the metric I beside the mass."""
    problem = ao.Problem(Shift(), np.ones((samples, 2)), np.zeros((samples, 2)), ao.SquaredError(), mass=0.5)
    for metric, rate in (("euclidean", 2.0), ("layerwise", 1 / 1.5), ("joint", 1 / 1.5)):
        assert ao.contraction_rate(problem, [0.3, -0.2], metric=metric) == pytest.approx(rate, rel=1e-12)
