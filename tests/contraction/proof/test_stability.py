"""Stability that is proved: never below what replacements do, close to it, and known where it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.ops import NUMPY


def ridge(inputs: Any, targets: Any) -> ao.Problem:
    return ao.Problem(ao.Dense(3, 1), inputs, targets, ao.SquaredError(), weight_decay=0.1)


def logistic(inputs: Any, targets: Any) -> ao.Problem:
    return ao.Problem(ao.Dense(3, 1), inputs, targets, ao.Logistic(), weight_decay=0.1)


def mean(inputs: Any, targets: Any) -> ao.Problem:
    return ao.Problem(ao.Parameter(2), None, targets, ao.SquaredError(), output_metric=None)


def data(build: Any, n: int) -> tuple[Any, Any]:
    """Samples, the last 20 of which are replacements."""
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((n + 20, 3))
    if build is mean:
        return None, rng.standard_normal((n + 20, 2))
    noise = 0.3 * rng.standard_normal(n + 20)
    targets = inputs @ [1.0, -0.5, 0.3] + noise
    return inputs, (targets > 0).astype(float) if build is logistic else targets


def limit(problem: ao.Problem) -> np.ndarray:
    return ao.train(problem, np.zeros(problem.size), solver="newton").weights


def cut(x: Any, rows: Any) -> Any:
    return None if x is None else x[rows]


def changes(build: Any, n: int, count: int, quantity: str, limits: Any = limit) -> tuple[np.ndarray, float]:
    """Return the limit of the first n samples, and the largest change over random replacements."""
    inputs, targets = data(build, n)
    whole = build(inputs, targets)
    base = limits(build(cut(inputs, slice(n)), targets[:n]))
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(count):
        rows = np.arange(n)
        rows[rng.integers(n)] = n + rng.integers(20)
        other = limits(build(cut(inputs, rows), targets[rows]))
        if quantity == "loss":
            losses = [whole.loss.value(NUMPY, whole.outputs(w), whole.target_array) for w in (base, other)]
            worst = max(worst, float(abs(losses[0] - losses[1]).max()))
        else:
            worst = max(worst, float(np.linalg.norm(base - other)))
    return base, worst


@pytest.mark.parametrize(
    ("build", "n", "factor"), [(ridge, 50, 7.0), (ridge, 200, 7.0), (logistic, 400, 2.5), (mean, 30, 1.4)]
)
@pytest.mark.parametrize("quantity", ["loss", "weights", "limit"])
def test_bounds_hold_and_are_close(build: Any, n: int, factor: float, quantity: str) -> None:
    base, worst = changes(build, n, 40, quantity)
    inputs, targets = data(build, n)
    problem = build(cut(inputs, slice(n)), targets[:n])
    proof = ao.prove_stability(
        problem, base, replacements=(cut(inputs, slice(n, None)), targets[n:]), quantity=quantity
    )
    assert proof.proved
    assert worst <= proof.bound
    if quantity != "loss" or build is not logistic:
        assert proof.bound <= factor * worst


def test_the_mean_is_known_exactly() -> None:
    """The limit is the mean of the targets: replacing z by z' moves it by `|z - z'| / n`."""
    _, targets = data(mean, 30)
    proof = ao.prove_stability(
        mean(None, targets[:30]), targets[:30].mean(axis=0), replacements=(None, targets[30:]), quantity="weights"
    )
    apart = np.linalg.norm(targets[:30, None] - targets[None, 30:], axis=-1).max() / 30
    assert apart <= proof.bound <= apart * (1.0 + 1e-9)
    short = ao.prove_stability(
        mean(None, targets[:30]), targets[:30].mean(axis=0), replacements=(None, targets[30:]), quantity="weights",
        horizon=0.5,
    )  # fmt: skip
    assert short.bound == pytest.approx((1.0 - np.exp(-0.5)) * apart, rel=1e-9)


@pytest.mark.parametrize("metric", ["joint", "layerwise"])
def test_a_metric_that_depends_on_the_data(metric: str) -> None:
    """The natural gradient of linear regression: at a horizon the metric of the data has moved the flow too."""
    inputs, targets = data(ridge, 400)

    def after(problem: ao.Problem) -> np.ndarray:
        return ao.flow(problem, np.zeros(4), horizon=2.0, steps=20, metric=metric, method="DOP853").weights[-1]

    _, worst = changes(ridge, 400, 12, "weights", limits=after)
    problem = ridge(inputs[:400], targets[:400])
    base = limit(problem)
    proof = ao.prove_stability(
        problem, base, replacements=(inputs[400:], targets[400:]), quantity="weights", metric=metric, horizon=2.0
    )
    assert proof.proved
    assert worst <= proof.bound


def test_mini_batches_in_expectation() -> None:
    _, targets = data(mean, 20)
    problem = mean(None, targets[:20])
    proof = ao.prove_stability(
        problem, targets[:20].mean(axis=0), replacements=(None, targets[20:]), quantity="weights", step_size=0.1
    )
    assert proof.proved
    distances = []
    for stream in range(40):
        rng = np.random.default_rng(stream)
        other = targets[:20].copy()
        other[3] = targets[25]
        a = b = targets[:20].mean(axis=0)
        for _ in range(200):
            k = rng.integers(20)
            a, b = a - 0.1 * (a - targets[k]), b - 0.1 * (b - other[k])
        distances.append(np.linalg.norm(a - b))
    assert np.mean(distances) <= proof.bound
    with pytest.raises(ao.InputError, match="mini-batch descent in the euclidean metric"):
        ao.prove_stability(problem, [0.0, 0.0], replacements=(None, targets[20:]), metric="joint", step_size=0.1)


def test_a_flow_that_does_not_contract_is_undecided() -> None:
    problem = ao.Problem([ao.Dense(1, 2, "tanh"), ao.Dense(2, 1)], [[1.0], [2.0]], [0.5, 0.1], ao.SquaredError())
    proof = ao.prove_stability(problem, problem.initial_weights(0), replacements=([[0.0]], [1.0]))
    assert proof.status == "undecided"
    assert proof.bound == np.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantity": "speed"}, "unknown quantity 'speed'"),
        ({"metric": "flat"}, "unknown metric 'flat'"),
        ({"horizon": -1.0}, "horizon must be positive and finite"),
        ({"replacements": [1.0]}, r"data must be \(inputs, targets\)"),
        ({"replacements": (np.zeros((2, 2)), np.zeros(2))}, "inputs of data must have 3 columns, got 2"),
    ],
)
def test_rejections(options: dict[str, Any], message: str) -> None:
    inputs, targets = data(ridge, 10)
    arguments = {"replacements": (inputs[10:], targets[10:]), **options}
    with pytest.raises(ao.InputError, match=message):
        ao.prove_stability(ridge(inputs[:10], targets[:10]), np.zeros(4), **arguments)
