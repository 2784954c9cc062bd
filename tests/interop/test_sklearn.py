"""Networks of scikit-learn: outputs, energy and gradients are those of the original."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import actionopt as ao

SAMPLES, FEATURES = 23, 4
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
ALPHA = 0.3


def fitted(kind: Any, X: np.ndarray, y: np.ndarray, **options: Any) -> Any:
    """A network after two sweeps, so that no weight is what any initialisation gives."""
    settings = {"hidden_layer_sizes": (5, 3), "alpha": ALPHA, "random_state": 0, "solver": "sgd", "batch_size": 7}
    estimator = kind(**{**settings, **options})
    for _ in range(2):
        estimator.partial_fit(X, y, **({"classes": np.unique(y)} if kind is MLPClassifier and y.ndim == 1 else {}))
    return estimator


def sklearn_loss_and_gradient(estimator: Any, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Scikit-learn's own backpropagation over the whole batch; the gradient in our order of weights."""
    coefs = [np.zeros_like(c) for c in estimator.coefs_]
    intercepts = [np.zeros_like(b) for b in estimator.intercepts_]
    layers = len(coefs)
    activations, deltas = [X] + [None] * layers, [None] * layers
    loss, coefs, intercepts = estimator._backprop(X, y, None, activations, deltas, coefs, intercepts)
    return loss, np.concatenate([np.r_[c.T.ravel(), b] for c, b in zip(coefs, intercepts, strict=True)])


def offsets(problem: ao.Problem, w: np.ndarray) -> np.ndarray:
    """The weights that scikit-learn does not decay, all others zero."""
    kept = np.zeros_like(w)
    for module, piece in zip(problem.modules, problem.slices, strict=True):
        kept[piece.stop - module.out_size : piece.stop] = w[piece.stop - module.out_size : piece.stop]
    return kept


def check(problem: ao.Problem, estimator: Any, X: np.ndarray, encoded: np.ndarray, *, loss_scale: float = 1.0) -> None:
    """Energy and gradient against scikit-learn's, which leaves the offsets out of the decay."""
    w = problem.initial_weights()
    rho = ALPHA / SAMPLES
    assert problem.weight_decay == pytest.approx(rho, rel=1e-15)
    loss, gradient = sklearn_loss_and_gradient(estimator, X, encoded)
    undecayed = offsets(problem, w)
    data = loss - rho / 2 * ((w - undecayed) ** 2).sum()
    np.testing.assert_allclose(problem.energy(w) - rho / 2 * w @ w, loss_scale * data, rtol=1e-10)
    np.testing.assert_allclose(problem.gradient(w) - rho * undecayed, gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_regressor(rng: np.random.Generator, activation: str, outputs: int) -> None:
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.standard_normal((SAMPLES, outputs))
    y = y[:, 0] if outputs == 1 else y
    estimator = fitted(MLPRegressor, X, y, activation=activation)
    problem = ao.Problem.from_sklearn(estimator, X, y)
    w = problem.initial_weights(seed=7)
    np.testing.assert_allclose(problem.outputs(w), estimator.predict(X).reshape(SAMPLES, -1), rtol=0, atol=1e-14)
    check(problem, estimator, X, y.reshape(SAMPLES, -1), loss_scale=outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_multi_class_classifier(rng: np.random.Generator, activation: str) -> None:
    X, y = rng.standard_normal((SAMPLES, FEATURES)), np.array(["ant", "bee", "cow"])[rng.integers(0, 3, SAMPLES)]
    estimator = fitted(MLPClassifier, X, y, activation=activation)
    problem = ao.Problem.from_sklearn(estimator, X, y)
    logits = problem.outputs(problem.initial_weights())
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, estimator.predict_proba(X), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(estimator.classes_[problem.targets], y)
    check(problem, estimator, X, problem.target_array)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_binary_classifier(rng: np.random.Generator, activation: str) -> None:
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.choice([-1, 1], SAMPLES)
    estimator = fitted(MLPClassifier, X, y, activation=activation)
    problem = ao.Problem.from_sklearn(estimator, X, y)
    p = 1 / (1 + np.exp(-problem.outputs(problem.initial_weights())[:, 0]))
    np.testing.assert_allclose(p, estimator.predict_proba(X)[:, 1], rtol=0, atol=1e-14)
    check(problem, estimator, X, problem.target_array)


def test_several_labels_a_sample(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.integers(0, 2, (SAMPLES, 3))
    estimator = MLPClassifier((5,), alpha=ALPHA, random_state=0, solver="lbfgs", max_iter=1000).fit(X, y)
    problem = ao.Problem.from_sklearn(estimator, X, y)
    p = 1 / (1 + np.exp(-problem.outputs(problem.initial_weights())))
    np.testing.assert_allclose(p, estimator.predict_proba(X), rtol=0, atol=1e-14)
    check(problem, estimator, X, y.astype(float))


@pytest.mark.skipif("loss" not in MLPRegressor().get_params(), reason="this scikit-learn has no Poisson loss")
def test_poisson_regressor(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.poisson(2.0, SAMPLES).astype(float)
    estimator = fitted(MLPRegressor, X, y, loss="poisson", activation="tanh")
    problem = ao.Problem.from_sklearn(estimator, X, y)
    w = problem.initial_weights()
    np.testing.assert_allclose(np.exp(problem.outputs(w)[:, 0]), estimator.predict(X), rtol=1e-13)
    _, gradient = sklearn_loss_and_gradient(estimator, X, y[:, None])
    expected = gradient + problem.weight_decay * offsets(problem, w)
    np.testing.assert_allclose(problem.gradient(w), expected, rtol=0, atol=1e-13)


def test_without_hidden_layer_and_as_many_samples_as_features(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((FEATURES, FEATURES)), rng.standard_normal((FEATURES, FEATURES))
    estimator = fitted(MLPRegressor, X, y, hidden_layer_sizes=(), batch_size=2)
    problem = ao.Problem.from_sklearn(estimator, X, y)
    np.testing.assert_allclose(problem.outputs(problem.initial_weights()), estimator.predict(X), rtol=0, atol=1e-14)


def test_options_reach_the_problem(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.standard_normal(SAMPLES)
    estimator = fitted(MLPRegressor, X, y)
    problem = ao.Problem.from_sklearn(estimator, X, y, weight_decay=0.0, mass=2.0, name="mine")
    assert (problem.weight_decay, problem.name, set(problem.mass)) == (0.0, "mine", {2.0})
    assert ao.Problem.from_sklearn(estimator, X, y).name == "MLPRegressor"


def test_weights_handed_out_are_the_callers_own(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.standard_normal(SAMPLES)
    estimator = fitted(MLPRegressor, X, y)
    problem = ao.Problem.from_sklearn(estimator, X, y)
    problem.initial_weights()[:] = 0.0
    problem.modules[0].initial_weights(rng)[:] = 0.0
    np.testing.assert_array_equal(problem.unflatten(problem.initial_weights())[0][:FEATURES], estimator.coefs_[0][:, 0])


def test_the_extra_is_named_where_scikit_learn_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ao.InputError, match=r"pip install 'actionopt\[problems\]'"):
        ao.Problem.from_sklearn(object(), X, Y)


X, Y = np.random.default_rng(0).standard_normal((SAMPLES, FEATURES)), np.arange(SAMPLES) % 3


@pytest.mark.parametrize(
    ("estimator", "X", "y", "message"),
    [
        (MLPRegressor(), X, Y, r"MLPRegressor is not fitted; call fit"),
        (LinearRegression(), X, Y, r"fitted MLPRegressor or MLPClassifier, got LinearRegression"),
        (None, X, Y, r"fitted MLPRegressor or MLPClassifier, got None"),
        (make_pipeline(StandardScaler(), MLPRegressor()), X, Y, r"pipeline\[-1\] with pipeline\[:-1\].transform"),
        (fitted(MLPClassifier, X, Y), X, Y + 1, r"label .*3.* is none of those .* 0, 1, 2"),
        (fitted(MLPClassifier, X, Y), X, Y.astype(str), r"label .*0.* is none of those .* 0, 1, 2"),
        (fitted(MLPClassifier, X, Y), X, np.eye(3)[Y], r"vector \(B,\) of labels.* got shape \(23, 3\)"),
        (fitted(MLPClassifier, X, Y), X[:, :2], Y, r"inputs must have 4 columns.* got 2"),
        (fitted(MLPClassifier, X, Y), X, Y[:-1], r"targets must match the 23 samples.* got 22"),
        (fitted(MLPRegressor, X, Y), X, np.array(["a"] * SAMPLES), r"targets must be an array of numbers"),
    ],
)
def test_rejects(estimator: Any, X: Any, y: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.Problem.from_sklearn(estimator, X, y)
