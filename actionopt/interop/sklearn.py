"""Fitted multilayer perceptrons of scikit-learn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from actionopt.errors import InputError
from actionopt.interop.pretrained import Pretrained
from actionopt.losses import CustomLoss, Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from actionopt.ops import Ops
from actionopt.ops.base import Array

_ACTIVATIONS = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


class SklearnParts(NamedTuple):
    """What a fitted estimator and its data say about a problem.

    `modules` start at the fitted weights and end in the logits; `targets` are as `loss` takes them; `weight_decay` is
    `alpha/B`.
    """

    modules: tuple[Pretrained, ...]
    targets: np.ndarray
    loss: Loss
    weight_decay: float


def read_sklearn(estimator: Any, y: Any) -> SklearnParts:
    """Take a fitted MLPRegressor or MLPClassifier apart.

    Parameters
    ----------
    estimator : MLPRegressor or MLPClassifier
        Fitted.
    y : array (B,) or (B, k)
        Targets as the estimator's `fit` takes them; class labels may be of any kind it was fitted on.

    Raises
    ------
    InputError
        If it is another estimator, is not fitted, or does not know a label in y.
    """
    _check_estimator(estimator)
    targets, loss = _targets_and_loss(estimator, y)
    return SklearnParts(_layers(estimator), targets, loss, float(estimator.alpha) / max(len(targets), 1))


def _check_estimator(estimator: Any) -> None:
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
        from sklearn.pipeline import Pipeline
    except ImportError as error:
        raise InputError("from_sklearn needs scikit-learn: pip install 'actionopt[problems]'") from error
    if isinstance(estimator, Pipeline):
        raise InputError(
            "from_sklearn takes the network alone, got a Pipeline; pass pipeline[-1] with pipeline[:-1].transform(X)"
        )
    if not isinstance(estimator, (MLPClassifier, MLPRegressor)):
        raise InputError(f"from_sklearn takes a fitted MLPRegressor or MLPClassifier, got {estimator!r}")
    if not hasattr(estimator, "coefs_"):
        raise InputError(f"{type(estimator).__name__} is not fitted; call fit(X, y) first (max_iter=1 is enough)")


def _layers(estimator: Any) -> tuple[Pretrained, ...]:
    """Turn scikit-learn's matrices `(in, out)` into layers; the output activation belongs to the loss."""
    hidden = _ACTIVATIONS[estimator.activation]
    last = len(estimator.coefs_) - 1
    return tuple(
        Pretrained(matrix.T, offset, None if index == last else hidden)
        for index, (matrix, offset) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    )


def _targets_and_loss(estimator: Any, y: Any) -> tuple[np.ndarray, Loss]:
    y = np.asarray(y)
    output = estimator.out_activation_
    if output == "softmax":
        return _class_numbers(estimator.classes_, y), SoftmaxCrossEntropy()
    if output == "logistic":
        return (y if y.ndim == 2 and y.shape[1] > 1 else _class_numbers(estimator.classes_, y)), Logistic()
    if output == "exp":
        return y, CustomLoss(_poisson, "Poisson deviance")
    return y, SquaredError()


def _poisson(ops: Ops, y: Array, target: Array) -> Array:
    """Half the Poisson deviance of the rate exp(y), less its part that only depends on the target."""
    return ops.sum(ops.exp(y) - target * y)


def _class_numbers(classes: np.ndarray, y: np.ndarray) -> np.ndarray:
    labels = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if labels.ndim != 1:
        raise InputError(f"y must be a vector (B,) of labels, as the estimator was fitted on, got shape {y.shape}")
    unknown = ~np.isin(labels, classes)
    if unknown.any():
        raise InputError(
            f"label {labels[unknown][0]!r} is none of those the estimator was fitted on: {', '.join(map(str, classes))}"
        )
    return np.searchsorted(classes, labels)
