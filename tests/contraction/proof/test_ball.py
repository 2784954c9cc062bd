"""Balls on which contraction is proved: known answers, every sampled point inside, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import actionopt as ao
from actionopt.contraction.proof.ball import prove_contraction
from tests.random_problems import problems

METRICS = ("euclidean", "joint", "layerwise")


def product(rho: float = 0.1) -> tuple[ao.Problem, np.ndarray]:
    """`(a b - 1)^2 / 2` with decay: at its minimum `a = b = sqrt(1 - rho)` the rate is 2 rho."""

    def value(ops: Any, y: Any, target: Any) -> Any:
        a, b = ops.columns(y)
        return 0.5 * (a * b - 1.0) ** 2

    problem = ao.Problem(
        ao.Parameter(2), None, None, ao.CustomLoss(value), output_metric=None, weight_decay=rho, name="a b"
    )
    return problem, np.full(2, np.sqrt(1.0 - rho))


def exact_radius(rho: float) -> float:
    """Distance from the minimum of `product` to where its Hessian gets singular, along the edges of that region.

    With `t = a b`, `s = a^2 + b^2` the Hessian `[[b^2 + rho, 2t - 1], [2t - 1, a^2 + rho]]` is singular where
    `(a^2 + rho)(b^2 + rho) = (2t - 1)^2`; the nearest such point is searched on rays.
    """
    c = np.sqrt(1.0 - rho)
    angles = np.linspace(0.0, 2.0 * np.pi, 20_001)
    low, high = np.zeros_like(angles), np.full_like(angles, 0.5)

    def positive(r: np.ndarray) -> np.ndarray:
        a, b = c + r * np.cos(angles), c + r * np.sin(angles)
        return (a * a + rho) * (b * b + rho) > (2.0 * a * b - 1.0) ** 2

    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = np.where(positive(middle), middle, low), np.where(positive(middle), high, middle)
    return float(low.min())


def in_ball(problem: ao.Problem, centre: np.ndarray, radius: float, count: int, seed: int = 0) -> np.ndarray:
    """Draw points of the ball, most of them at its edge, where rates are least."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, len(centre)))
    x *= (radius * (1.0 - 1e-9) * rng.uniform(0.0, 1.0, (count, 1)) ** 0.1) / np.linalg.norm(x, axis=1, keepdims=True)
    return centre + x / np.sqrt(problem.mass)


def test_the_largest_ball_of_the_product_is_known() -> None:
    problem, centre = product()
    exact = exact_radius(0.1)
    assert exact == pytest.approx(0.1416, abs=1e-4)
    single = prove_contraction(problem, centre)
    assert single.proved
    assert 0.0977 <= single.radius <= exact
    assert single.basin
    many = prove_contraction(problem, centre, boxes=400)
    assert 0.95 * exact <= many.radius <= exact
    assert many.boxes <= 400


def test_double_well_known_rate() -> None:
    """`E = w^4/4 - w^2/2`: the rate on `|w - 1| <= r` is `3 (1 - r)^2 - 1`."""
    loss = ao.CustomLoss(lambda ops, w, target: 0.25 * w**4 - 0.5 * w**2)
    problem = ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)
    exact = 3.0 * 0.8**2 - 1.0
    proof = prove_contraction(problem, [1.0], 0.2)
    assert proof.proved
    assert 0.95 * exact <= proof.rate <= exact
    assert proof.equilibrium_within is not None
    assert proof.equilibrium_within < 1e-12
    assert prove_contraction(problem, [1.0], 0.2, boxes=50).rate == pytest.approx(exact, rel=1e-2)
    refuted = prove_contraction(problem, [1.0], 0.5, rate=-0.2)
    assert refuted.status == "refuted"
    assert refuted.counterexample is not None
    assert 3.0 * refuted.counterexample[0] ** 2 - 1.0 <= refuted.rate < -0.2


def test_constant_rate_of_a_quadratic_on_any_ball() -> None:
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]])

    def value(ops: Any, w: Any, target: Any) -> Any:
        return 0.5 * ops.sum(ops.matmul(w, ops.row(matrix)) * w)

    problem = ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(value), output_metric=None, mass=[1.0, 4.0])
    exact = float(np.linalg.eigvals(matrix / np.array([[1.0], [4.0]])).min())
    proof = prove_contraction(problem, [30.0, -20.0], 1e3)
    assert proof.proved
    assert exact * (1.0 - 1e-9) <= proof.rate <= exact
    assert proof.basin


def test_a_logistic_regression_contracts_everywhere() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((40, 3))
    targets = (inputs[:, 0] + 0.5 * rng.standard_normal(40) > 0).astype(float)
    problem = ao.Problem(ao.Dense(3, 1), inputs, targets, ao.Logistic(), weight_decay=0.1)
    proof = prove_contraction(problem, np.zeros(4), 1e3)
    assert proof.proved
    assert 0.1 * (1.0 - 1e-9) <= proof.rate <= 0.1001
    assert prove_contraction(problem, np.zeros(4)).radius > 1e3


@pytest.mark.parametrize("metric", METRICS)
def test_every_sampled_rate_is_above_the_proved_one(metric: str) -> None:
    for weight_decay in (0.05, 0.3):
        rng = np.random.default_rng(3)
        inputs = rng.standard_normal((6, 2))
        net = [ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)]
        problem = ao.Problem(
            net, inputs, rng.standard_normal(6), ao.SquaredError(), weight_decay=weight_decay, mass=0.5
        )
        centre = ao.train(problem, problem.initial_weights(0), throw=False).weights
        proof = prove_contraction(problem, centre, metric=metric)
        if proof.status == "refuted":
            continue
        assert proof.proved
        assert proof.radius > 1e-4
        half = prove_contraction(problem, centre, 0.5 * proof.radius, metric=metric)
        for one in (proof, half):
            rates = [ao.contraction_rate(problem, w, metric=metric) for w in in_ball(problem, centre, one.radius, 200)]
            assert min(rates) >= one.rate


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
@pytest.mark.parametrize("metric", ["joint", "layerwise"])
@pytest.mark.parametrize("output_metric", ["fisher", "euclidean"])
def test_metric_formulas_hold_the_rate_at_a_point(loss: str, metric: str, output_metric: str) -> None:
    """On a ball of almost no size the bound is the sampled rate, to the size of the ball."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 5) if loss == "softmax" else (rng.standard_normal((5, 3)) > 0).astype(float)
    kind = ao.SoftmaxCrossEntropy() if loss == "softmax" else ao.Logistic()
    net = [ao.Dense(2, 2, "tanh"), ao.Dense(2, 3, "softplus")]
    problem = ao.Problem(net, rng.standard_normal((5, 2)), targets, kind, mass=0.7, output_metric=output_metric)
    w = problem.initial_weights(1)
    exact = ao.contraction_rate(problem, w, metric=metric)
    proof = prove_contraction(problem, w, 1e-9, metric=metric, rate=exact - 1e-3)
    assert proof.proved
    assert exact - 1e-5 <= proof.rate <= exact
    assert prove_contraction(problem, w, 1e-9, metric=metric, rate=exact + 1e-3).status == "refuted"


@settings(max_examples=15)
@given(problems(smooth=True), st.sampled_from(METRICS), st.integers(0, 100))
def test_random_problems_hold_their_sampled_rates(drawn: tuple[ao.Problem, np.ndarray], metric: str, seed: int) -> None:
    problem, centre = drawn
    if problem.size > 12 or (callable(problem.output_metric) and metric != "euclidean"):
        return
    radius = 10.0 ** -(1 + seed % 4)
    try:
        proof = prove_contraction(problem, centre, radius, metric=metric, rate=-1e9)
    except ao.InputError as error:
        assert "singular" in str(error)  # noqa: PT017 - the metric is named
        return
    for w in in_ball(problem, centre, radius, 20, seed):
        rate = ao.contraction_rate(problem, w, metric=metric)
        assert rate >= proof.rate - 1e-9 * (1.0 + abs(rate))


def test_a_kink_is_refused_and_avoided() -> None:
    """`E = w^2/2 - |w|` has second derivative 1 on both sides of 0, and two minima."""
    loss = ao.CustomLoss(lambda ops, w, target: 0.5 * w * w - ops.abs(w))
    problem = ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)
    with pytest.raises(ao.InputError, match=r"ops\.abs is evaluated across its kink"):
        prove_contraction(problem, [1.0], 1.5)
    with pytest.raises(ao.InputError, match="not smooth"):
        prove_contraction(problem, [0.0], 0.5)
    assert prove_contraction(problem, [1.0], 0.9).rate == pytest.approx(1.0)
    found = prove_contraction(problem, [1.0])
    assert found.proved
    assert 0.9 < found.radius < 1.0


def test_a_relu_network_is_proved_up_to_its_kink() -> None:
    problem = ao.Problem([ao.Dense(1, 1, "relu")], [[1.0], [2.0]], [1.0, 2.0], ao.SquaredError(), weight_decay=0.1)
    found = prove_contraction(problem, [1.0, 0.5])
    assert found.proved
    assert 0.7 < found.radius < 0.75  # w + b = 0 at the first sample, at a corner of the box
    with pytest.raises(ao.InputError, match=r"ops\.relu"):
        prove_contraction(problem, [1.0, 0.5], 2.0)


def test_infinities_are_undecided() -> None:
    loss = ao.CustomLoss(lambda ops, w, target: ops.exp(ops.exp(w)))
    problem = ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)
    found = prove_contraction(problem, [1.0], 20.0)
    assert found.status == "undecided"
    assert found.rate == -np.inf
    steep = ao.CustomLoss(lambda ops, w, target: 0.5 * w * w - 0.1 * ops.log(w))
    pole = ao.Problem(ao.Parameter(1), None, None, steep, output_metric=None)
    assert prove_contraction(pole, [1.0], 0.5).proved
    assert prove_contraction(pole, [1.0], 1.5).status == "undecided"


def test_a_metric_that_may_be_singular_is_named() -> None:
    problem = ao.Problem(
        [ao.Dense(1, 2, "tanh"), ao.Dense(2, 1)], [[1.0], [-0.5]], [0.3, 0.1], ao.SquaredError(), mass=1e-4
    )
    with pytest.raises(ao.InputError, match="the metric may be singular over this region"):
        prove_contraction(problem, problem.initial_weights(0), 1.0, metric="joint")


def test_rates_that_are_not_there_are_refuted_at_a_checked_point() -> None:
    problem, centre = product()
    found = prove_contraction(problem, centre, 0.2)
    assert found.status == "refuted"
    assert found.counterexample is not None
    assert np.linalg.norm(found.counterexample - centre) <= 0.2
    rate = ao.contraction_rate(problem, found.counterexample, metric="euclidean")
    assert rate <= found.rate + 1e-12 < 0.0
    at_saddle = prove_contraction(problem, [0.0, 0.0])
    assert at_saddle.status == "refuted"
    assert at_saddle.radius == 0.0


def test_time_limit() -> None:
    problem, centre = product()
    found = prove_contraction(problem, centre, seconds=1e-9)
    assert "the time was up before a larger ball was tried" in found.message
    assert found.radius <= prove_contraction(problem, centre).radius


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -1.0}, "radius must be a positive finite number, got -1"),
        ({"radius": "wide"}, "radius must be a positive number, got 'wide'"),
        ({"rate": np.nan}, "rate must be a finite number"),
        ({"boxes": 0}, "boxes must be a whole number >= 1"),
        ({"metric": "flat"}, "unknown metric 'flat'"),
        ({"seconds": 0.0}, "seconds must be a positive finite number"),
    ],
)
def test_rejections(options: dict[str, Any], message: str) -> None:
    problem, centre = product()
    with pytest.raises(ao.InputError, match=message):
        prove_contraction(problem, centre, **options)


def test_a_callable_output_metric_is_named() -> None:
    problem = ao.Problem(
        ao.Dense(1, 1), [[1.0]], [0.5], ao.SquaredError(), output_metric=lambda ops, y, target: [2.0 * y]
    )
    with pytest.raises(ao.InputError, match="a proof knows the output metrics 'fisher' and 'euclidean'"):
        prove_contraction(problem, [0.1, 0.2], 0.01, metric="joint")


def test_networks_with_shared_weights_and_several_costs() -> None:
    rng = np.random.default_rng(0)
    x = ao.Input(rng.standard_normal((4, 2)))
    cell = ao.Dense(2, 2, "tanh")
    once = cell(x)
    twice = cell(once)
    read = ao.Dense(2, 1)
    costs = [
        ao.Cost(read(twice), ao.SquaredError(), 0.5 * rng.standard_normal(4)),
        ao.Cost(once, ao.SquaredError(), 0.3 * rng.standard_normal((4, 2)), weight=0.5),
    ]
    problem = ao.Problem(costs, weight_decay=0.3)
    centre = ao.train(problem, problem.initial_weights(0), solver="newton").weights
    for metric in METRICS:
        proof = prove_contraction(problem, centre, metric=metric)
        assert proof.proved
        rates = [ao.contraction_rate(problem, w, metric=metric) for w in in_ball(problem, centre, proof.radius, 40)]
        assert min(rates) >= proof.rate


@pytest.mark.parametrize("kind", ["conv", "attention", "norm", "implicit", "each"])
def test_modules_with_structure(kind: str) -> None:
    rng = np.random.default_rng(0)
    net = {
        "conv": [ao.Conv2d((1, 3, 3), 1, 2, "tanh"), ao.Dense(4, 1)],
        "attention": [ao.Attention(2, 1, 1), ao.Dense(2, 1)],
        "norm": [ao.Dense(2, 2), ao.LayerNorm(2, epsilon=1.0), ao.Dense(2, 1)],
        "implicit": [ao.Implicit(ao.Dense(2, 1, "tanh")), ao.Dense(1, 1)],
        "each": [ao.Each(ao.Dense(1, 1, "tanh"), 2), ao.Dense(2, 1)],
    }[kind]
    inputs = rng.standard_normal((3, net[0].in_size))
    problem = ao.Problem(net, inputs, 0.3 * rng.standard_normal(3), ao.SquaredError(), weight_decay=0.5)
    centre = 0.2 * problem.initial_weights(0)
    proof = prove_contraction(problem, centre, 0.01, rate=-50.0)
    assert proof.proved
    exact = ao.contraction_rate(problem, centre, metric="euclidean")
    assert exact - 0.2 * (1.0 + abs(exact)) <= proof.rate <= exact
    rates = [ao.contraction_rate(problem, w, metric="euclidean") for w in in_ball(problem, centre, 0.01, 20)]
    assert min(rates) >= proof.rate
