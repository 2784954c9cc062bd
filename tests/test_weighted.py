"""Samples that count differently, targets that are missing, and labels as people have them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

import actionopt as ao
from actionopt.metric.batched import BatchedMetric

RNG = np.random.default_rng(3)
X = RNG.standard_normal((6, 2))
Y = RNG.standard_normal((6, 2))
LABELS = np.array([0, 1, 2, 0, 1, 2])
COUNTS = np.array([1, 2, 1, 3, 1, 1])  # repeating samples is weighing them


def network(loss: ao.Loss, inputs: Any, targets: Any, outputs: int, **options: Any) -> ao.Problem:
    return ao.Problem([ao.Dense(2, 3, "tanh"), ao.Dense(3, outputs)], inputs, targets, loss, mass=0.3, **options)


def quartic(ops: Any, y: Any, t: Any) -> Any:
    return ops.sum((y - t) ** 4.0)


CASES = {
    "squared error": (ao.SquaredError(), Y, 2),
    "softmax": (ao.SoftmaxCrossEntropy(), LABELS, 3),
    "logistic": (ao.Logistic(), (Y > 0) * 1.0, 2),
    "custom": (ao.CustomLoss(quartic), Y, 2),
}


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest) -> tuple[ao.Problem, ao.Problem]:
    """A problem with weights, and the same with samples repeated."""
    loss, targets, outputs = CASES[request.param]
    weighted = network(loss, X, targets, outputs, sample_weight=COUNTS)
    repeated = network(loss, np.repeat(X, COUNTS, axis=0), np.repeat(targets, COUNTS, axis=0), outputs)
    return weighted, repeated


def test_a_weight_of_two_is_two_samples(pair: tuple[ao.Problem, ao.Problem]) -> None:
    weighted, repeated = pair
    w = weighted.initial_weights(0)
    assert weighted.energy(w) == pytest.approx(repeated.energy(w), rel=1e-13)
    np.testing.assert_allclose(weighted.gradient(w), repeated.gradient(w), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("metric", ["fisher", "euclidean"])
def test_so_it_is_in_the_metric(pair: tuple[ao.Problem, ao.Problem], metric: str) -> None:
    weighted, _ = pair
    for problem in pair:
        problem.output_metric = metric
    w = weighted.initial_weights(0)
    dense = [ao.LayerMetric(problem, w, joint=True).dense() for problem in pair]
    np.testing.assert_allclose(dense[0], dense[1], rtol=1e-11, atol=1e-13)
    g = weighted.gradient(w)
    solved = [BatchedMetric(problem, w[None]).solve(g[None]) for problem in pair]
    np.testing.assert_allclose(solved[0], solved[1], rtol=1e-10)


def test_so_it_is_along_the_flow_and_in_contraction(pair: tuple[ao.Problem, ao.Problem]) -> None:
    weighted, _ = pair
    w = weighted.initial_weights(0)
    ends = [ao.flow(problem, w, horizon=0.5, steps=5).weights[-1] for problem in pair]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)
    rates = [ao.contraction_rate(problem, w) for problem in pair]
    assert rates[0] == pytest.approx(rates[1], rel=1e-8)


def test_multipliers_are_the_weighted_adjoints(pair: tuple[ao.Problem, ao.Problem]) -> None:
    assert ao.check_adjoints(pair[0]).ok


def test_a_users_output_metric_sees_plain_targets_and_is_weighted() -> None:
    def rows(ops: Any, y: Any, target: Any) -> list[Any]:
        return [y * target]

    problems = [
        network(ao.SquaredError(), X, Y, 2, sample_weight=COUNTS, output_metric=rows),
        network(ao.SquaredError(), np.repeat(X, COUNTS, axis=0), np.repeat(Y, COUNTS, axis=0), 2, output_metric=rows),
    ]
    w = problems[0].initial_weights(0)
    dense = [ao.LayerMetric(problem, w, joint=True).dense() for problem in problems]
    np.testing.assert_allclose(dense[0], dense[1], rtol=1e-12)
    rates = [ao.contraction_rate(problem, w) for problem in problems]
    assert rates[0] == pytest.approx(rates[1], rel=1e-8)


def test_costs_take_weights() -> None:
    x = ao.Input(X)
    y = ao.Dense(2, 2)(x)
    graph = ao.Problem([ao.Cost(y, ao.SquaredError(), Y, sample_weight=COUNTS)])
    chain = ao.Problem(ao.Dense(2, 2), X, Y, ao.SquaredError(), sample_weight=COUNTS)
    w = chain.initial_weights(0)
    assert graph.energy(w) == chain.energy(w)
    with pytest.raises(ao.InputError, match="costs bring their own weights"):
        ao.Problem([ao.Cost(y, ao.SquaredError(), Y)], sample_weight=COUNTS)


@pytest.mark.parametrize("loss", [ao.SquaredError(), ao.Logistic()])
def test_missing_entries_count_nothing(loss: ao.Loss) -> None:
    targets = np.ma.masked_array((Y > 0) * 1.0, mask=Y > 0.8)
    targets.data[targets.mask] = -999.0
    problem = network(loss, X, targets, 2)
    w = problem.initial_weights(0)
    full = np.where(targets.mask, 0.0, targets.data)
    alone = [network(loss, X[b : b + 1], full[b : b + 1], 2) for b in range(6)]
    entries = np.array([loss.entries(ao.ops.NUMPY, p.outputs(w), p.target_array)[0] for p in alone])
    expected = (entries * ~targets.mask).sum() / 6
    assert problem.energy(w) == pytest.approx(expected, rel=1e-13)
    other = np.ma.masked_array(np.where(targets.mask, 0.5, targets.data), mask=targets.mask)
    np.testing.assert_array_equal(problem.gradient(w), network(loss, X, other, 2).gradient(w))


def test_missing_labels_and_samples() -> None:
    masked = np.ma.masked_array(LABELS, mask=[0, 0, 1, 0, 0, 0])
    problem = network(ao.SoftmaxCrossEntropy(), X, masked, 3)
    kept = np.delete(np.arange(6), 2)
    rest = network(ao.SoftmaxCrossEntropy(), X[kept], LABELS[kept], 3)
    w = problem.initial_weights(0)
    assert problem.energy(w) * 6 == pytest.approx(rest.energy(w) * 5, rel=1e-13)


@pytest.mark.parametrize("model", [MLPRegressor, MLPClassifier])
def test_a_network_fitted_with_weights_is_stationary(model: Any) -> None:
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((60, 2))
    targets = np.sin(inputs[:, 0]) + 0.3 * rng.standard_normal(60)
    if model is MLPClassifier:
        targets = np.digitize(targets, [-0.5, 0.5])
    weights = np.where(np.arange(60) < 6, 30.0, 1.0)
    options = {"solver": "lbfgs", "max_iter": 20000, "tol": 1e-12, "random_state": 0, "max_fun": 10**6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = model(hidden_layer_sizes=(3,), activation="tanh", alpha=1e-2, **options).fit(
            inputs, targets, sample_weight=weights
        )
    problem = ao.Problem.from_sklearn(fitted, inputs, targets, sample_weight=weights)
    w = problem.initial_weights()
    decay = problem.weight_decay
    offsets = np.concatenate(
        [np.r_[np.zeros(c.size), i] for c, i in zip(fitted.coefs_, fitted.intercepts_, strict=True)]
    )
    assert abs(problem.gradient(w) - decay * offsets).max() < 2e-4  # it does not decay offsets; as far as it went
    assert abs(ao.Problem.from_sklearn(fitted, inputs, targets).gradient(w)).max() > 1e-2


def test_one_hot_words_and_probabilities() -> None:
    numbers = network(ao.SoftmaxCrossEntropy(), X, LABELS, 3)
    w = numbers.initial_weights(0)
    words = np.array(["ant", "bee", "cat"])[LABELS]
    for targets in (np.eye(3)[LABELS], np.eye(3, dtype=bool)[LABELS], words, words.astype(object), list(words)):
        assert network(ao.SoftmaxCrossEntropy(), X, targets, 3).energy(w) == numbers.energy(w)
    named = ao.SoftmaxCrossEntropy(classes=["cat", "ant", "bee"])
    moved = network(ao.SoftmaxCrossEntropy(), X, np.array([1, 2, 0])[LABELS], 3)
    assert network(named, X, words, 3).energy(w) == moved.energy(w)
    soft = np.full((6, 3), 1.0 / 3.0)
    mean = np.mean([network(ao.SoftmaxCrossEntropy(), X, np.full(6, k), 3).energy(w) for k in range(3)])
    assert network(ao.SoftmaxCrossEntropy(), X, soft, 3).energy(w) == pytest.approx(mean, rel=1e-13)


@pytest.mark.parametrize(
    ("targets", "classes", "message"),
    [
        (
            ["a", "b", "a", "b", "a", "b"],
            None,
            r"labels are 2 different words for 3 outputs: name the classes in order",
        ),
        (["a", "b", "d", "b", "a", "b"], ["a", "b", "c"], "label 'd' at sample 2 is none of the classes a, b, c"),
        (LABELS, ["a", "b"], "classes must be 3, one an output of the last module, got 2"),
        (np.full((6, 3), 0.5), None, r"probabilities of classes must be >= 0 and sum to 1, got .* at sample 0"),
        (np.zeros((6, 2)), None, r"class numbers or probabilities \(B, 3\), got shape \(6, 2\)"),
    ],
)
def test_labels_that_are_wrong(targets: Any, classes: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        network(ao.SoftmaxCrossEntropy(classes), X, targets, 3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), "weights must match the 6 samples of the inputs, got 5"),
        (-np.ones(6), "not negative"),
        (np.zeros(6), "not all zero"),
        ([1, 1, 1, 1, 1, np.nan], "not all zero|finite"),
        (np.ones((6, 2)), r"sample_weight must be \(B,\)"),
        (["1"] * 6, r"sample_weight must be one number a sample \(B,\), got strings"),
    ],
)
def test_weights_that_are_wrong(weights: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        network(ao.SquaredError(), X, Y, 2, sample_weight=weights)


def test_single_entries_of_a_loss_that_mixes_them() -> None:
    with pytest.raises(ao.InputError, match="the custom loss is no sum over outputs: give one weight a sample"):
        network(ao.CustomLoss(quartic), X, np.ma.masked_array(Y, mask=Y > 0.8), 2)
    with pytest.raises(ao.InputError, match="WeightedLoss takes a Loss"):
        ao.WeightedLoss("squared", [1.0])  # type: ignore[arg-type]
