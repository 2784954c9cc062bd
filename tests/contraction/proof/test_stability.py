"""Stability that is proved: never below what replacements do, close to it, and known where it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.displacement import displacement
from actionopt.contraction.influence import influential_exchanges
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


def changes(
    build: Any, n: int, count: int, quantity: str, limits: Any = limit
) -> tuple[np.ndarray, float, list[float]]:
    """Return the limit of the first n samples, and the change in random replacements, the most influential in front."""
    inputs, targets = data(build, n)
    whole = build(inputs, targets)
    problem = build(cut(inputs, slice(n)), targets[:n])
    base = limits(problem)
    rng = np.random.default_rng(0)
    pairs = influential_exchanges(whole, n, base, quantity, 3)
    pairs += [(int(rng.integers(n)), int(n + rng.integers(20))) for _ in range(count)]
    found = []
    for out, into in pairs:
        rows = np.arange(n)
        rows[out] = into
        other = limits(build(cut(inputs, rows), targets[rows]))
        if quantity == "loss":
            losses = [whole.loss.value(NUMPY, whole.outputs(w), whole.target_array) for w in (base, other)]
            found.append(float(abs(losses[0] - losses[1]).max()))
        else:
            found.append(float(np.linalg.norm(base - other)))
    return base, max(found), found


CASES = [(ridge, 50, 7.0), (ridge, 200, 1.6), (logistic, 400, 2.5), (logistic, 800, 2.5), (mean, 30, 1.2)]


@pytest.mark.parametrize(("build", "n", "factor"), CASES)
@pytest.mark.parametrize("quantity", ["loss", "weights", "limit"])
def test_bounds_hold_and_are_close(build: Any, n: int, factor: float, quantity: str) -> None:
    """The worst of all exchanges, found by first order, is measured beside random ones."""
    base, worst, _ = changes(build, n, 10, quantity)
    assert_bound(build, n, base, quantity, worst, factor)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "n", "factor"), [CASES[1], CASES[2]])
def test_bounds_hold_two_hundred_random_replacements(build: Any, n: int, factor: float) -> None:
    base, worst, found = changes(build, n, 200, "loss")
    assert len(found) == 203
    assert_bound(build, n, base, "loss", worst, factor)


def assert_bound(build: Any, n: int, base: np.ndarray, quantity: str, worst: float, factor: float) -> None:
    inputs, targets = data(build, n)
    problem = build(cut(inputs, slice(n)), targets[:n])
    given = (cut(inputs, slice(n, None)), targets[n:])
    proof = ao.prove_stability(problem, base, replacements=given, quantity=quantity)
    assert proof.proved
    assert worst <= proof.bound <= factor * worst


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
    problem = ridge(inputs[:400], targets[:400])
    base = limit(problem)
    start = base + 0.005

    def after(problem: ao.Problem) -> np.ndarray:
        return ao.flow(problem, start, horizon=2.0, steps=10, metric=metric, method="DOP853").weights[-1]

    _, worst, _ = changes(ridge, 400, 12, "weights", limits=after)
    proof = ao.prove_stability(
        problem, base, replacements=(inputs[400:], targets[400:]), quantity="weights", metric=metric, horizon=2.0,
        start=start,
    )  # fmt: skip
    assert proof.proved
    assert np.linalg.norm(start - base) <= proof.radius
    assert worst <= proof.bound <= 5.0 * worst


def test_the_ball_grows_until_it_holds_the_start() -> None:
    """From any start: of a quadratic energy the distance at a horizon is known, `|F(T) (z - z')| / n`."""
    _, targets = data(mean, 30)
    given = {"replacements": (None, targets[30:]), "quantity": "weights", "horizon": 0.5}
    problem, centre = mean(None, targets[:30]), targets[:30].mean(axis=0)
    near = ao.prove_stability(problem, centre, **given)
    far = ao.prove_stability(problem, centre, start=centre + np.array([30.0, -40.0]), **given)
    assert near.radius < 1.0 < 50.0 <= far.radius
    assert far.bound == pytest.approx(near.bound, rel=1e-9)
    apart = np.linalg.norm(targets[:30, None] - targets[None, 30:], axis=-1).max() / 30
    assert far.bound == pytest.approx((1.0 - np.exp(-0.5)) * apart, rel=1e-9)


def test_a_loss_at_a_horizon_is_followed_mode_by_mode() -> None:
    """Ridge flows from one start, in closed form: no exchange changes the loss of any sample by more, at any time."""
    inputs, targets = data(ridge, 60)
    problem, whole = ridge(inputs[:60], targets[:60]), ridge(inputs, targets)
    base = limit(problem)
    for horizon in (0.3, 3.0, None):
        proof = ao.prove_stability(problem, base, replacements=(inputs[60:], targets[60:]), horizon=horizon)
        worst = 0.0
        for out, into in influential_exchanges(whole, 60, base, "loss", 3):
            rows = np.arange(60)
            rows[out] = into
            other = ridge(inputs[rows], targets[rows])
            hessian, gradient = displacement(other, base, "euclidean").rate_form, other.gradient(base)
            values, vectors = np.linalg.eigh(hessian)
            for t in [horizon] if horizon else [0.2, 1.0, 5.0, 100.0]:
                moved = base - vectors @ ((1.0 - np.exp(-values * t)) / values * (vectors.T @ gradient))
                losses = [whole.loss.value(NUMPY, whole.outputs(w), whole.target_array) for w in (base, moved)]
                worst = max(worst, float(abs(losses[0] - losses[1]).max()))
        assert worst <= proof.bound <= 5.0 * worst


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
