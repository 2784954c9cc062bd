"""Losses: the energy of one sample as a function of the system's output."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.arrays import real_array
from actionopt.errors import InputError
from actionopt.memory import check_memory
from actionopt.modules.derived import pull_back
from actionopt.ops import Ops, duals_over
from actionopt.ops.base import Array


class Loss:
    """A scalar energy a sample, `value(ops, y, target)`; derivatives follow from it.

    A subclass may add `gradient` and `curvature` in closed form; a class with a `value` of its own inherits neither.

    Arrays are `(..., B, d)` for outputs and `(B, t)` for targets, in the namespace `ops`.

    Examples
    --------
    >>> isinstance(ao.SquaredError(), ao.Loss)
    True
    """

    name = "loss"
    positive_part = False  # whether only the positive part of an indefinite curvature is the metric
    elementwise = False  # a sum over outputs, `entries`

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for derived in ("gradient", "curvature"):  # a parent's closed forms are those of another value
            if "value" in vars(cls) and derived not in vars(cls):
                setattr(cls, derived, getattr(Loss, derived))
        if "value" in vars(cls) and "entries" not in vars(cls):
            cls.elementwise = False

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}()" if type(self).__module__ == __name__ else f"{type(self).__name__}: {self.name}"
        )

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    def value(self, ops: Ops, y: Array, target: Array) -> Array:
        """Return the energy of each sample, `(..., B)`."""
        raise NotImplementedError(f"{type(self).__name__} must define value(self, ops, y, target)")

    def gradient(self, ops: Ops, y: Array, target: Array) -> Array:
        """Return `d value / dy` of each sample, `(..., B, d)`."""
        return pull_back(lambda ops, y: self.value(ops, y, target), ops, (y,), (2,))[0]

    def curvature(self, ops: Ops, y: Array, target: Array, v: Array) -> Array:
        """Return the Hessian of the value in y times `v`, `(..., B, d)`: the output metric `fisher`.

        For cross-entropy and logistic losses it is the Fisher information of the predicted distribution; for every
        loss it is the generalised Gauss-Newton metric.
        """
        duals = duals_over(ops)
        product = duals.parts(self.gradient(duals, duals.dual(y, v), target))[1]
        return v * 0.0 if product is None else product

    def entries(self, ops: Ops, y: Array, target: Array) -> Array:
        """Return the terms of a loss that is a sum over outputs, `(..., B, d)`."""
        raise NotImplementedError(f"{type(self).__name__} is no sum over outputs")

    def apart(self, ops: Ops, target: Array) -> tuple[Loss, Array, Array | None]:
        """Return the loss, its targets, and weights `(B, 1 or d)` of samples or outputs where there are any."""
        return self, target, None

    def prepare(self, targets: Any, samples: int, out_size: int) -> np.ndarray:
        """Check the targets and return them as the `(B, t)` array that `value` takes, `(B, 0)` for None.

        Raises
        ------
        InputError
            Naming what was expected and what came.
        """
        targets = np.zeros((samples, 0)) if targets is None else as_samples("targets", targets)
        check_samples(targets, samples)
        return targets


class SquaredError(Loss):
    """`1/2 |y - target|^2` a sample (summed over features, mean over samples).

    Examples
    --------
    >>> line = ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError())
    >>> float(line.energy(np.zeros(2)))                  # the mean over samples of half the square
    2.5
    """

    name = "squared error"
    elementwise = True

    def value(self, ops: Ops, y: Array, target: Array) -> Array:
        difference = y - target
        return 0.5 * ops.sum(difference * difference)

    def entries(self, ops: Ops, y: Array, target: Array) -> Array:
        difference = y - target
        return 0.5 * (difference * difference)

    def gradient(self, ops: Ops, y: Array, target: Array) -> Array:
        return y - target

    def curvature(self, ops: Ops, y: Array, target: Array, v: Array) -> Array:
        return v

    def prepare(self, targets: Any, samples: int, out_size: int) -> np.ndarray:
        return _one_an_output(targets, super().prepare(targets, samples, out_size), out_size)


class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of softmax(y) with labels, in nats: `log sum exp(y) - y[label]`.

    Targets are class numbers `0 .. d-1`; or the classes' probabilities `(B, d)`, one-hot rows among them; or words,
    one of d different ones a sample, which are numbered in alphabetical order as scikit-learn does.

    Parameters
    ----------
    classes : sequence, optional
        The d classes in the order of the outputs, where labels are not numbers from zero on or some class is missing
        from the data.

    Examples
    --------
    >>> classes = ao.Problem(ao.Dense(2, 3), np.eye(2), [0, 2], ao.SoftmaxCrossEntropy())
    >>> round(float(classes.energy(np.zeros(classes.size))), 4)             # log 3
    1.0986
    """

    name = "softmax cross-entropy"

    def __init__(self, classes: Any = None) -> None:
        self.classes = None if classes is None else list(classes)
        if self.classes is not None and len(set(map(str, self.classes))) != len(self.classes):
            raise InputError(f"classes must be different, got {self.classes}")

    def value(self, ops: Ops, y: Array, target: Array) -> Array:
        return ops.sum(ops.logsumexp(y)) - ops.sum(y * target)

    def gradient(self, ops: Ops, y: Array, target: Array) -> Array:
        return ops.softmax(y) - target

    def curvature(self, ops: Ops, y: Array, target: Array, v: Array) -> Array:
        p = ops.softmax(y)
        weighted = p * v
        return weighted - p * ops.sum(weighted, keepdims=True)

    def prepare(self, targets: Any, samples: int, out_size: int) -> np.ndarray:
        labels = np.asarray(targets)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim == 2 and labels.shape[1] == out_size:
            return _probabilities(labels, samples)
        if labels.ndim != 1:
            raise InputError(
                f"labels must be a vector (B,) of class numbers or probabilities (B, {out_size}), "
                f"got {_described(targets)}"
            )
        if self.classes is not None or labels.dtype.kind in "UO":
            labels = _numbered(labels, self.classes, out_size)
        expected = f"labels must be whole numbers 0 .. {out_size - 1}, one an output of the last module"
        if labels.dtype.kind not in "iufb":
            raise InputError(f"{expected}; got {labels.dtype} values")
        wrong = (labels != np.floor(labels)) | (labels < 0) | (labels >= out_size)
        if wrong.any():
            sample = int(np.argmax(wrong))
            raise InputError(f"{expected}; got {labels[sample]} at sample {sample}")
        check_samples(labels, samples)
        check_memory(f"{out_size} classes of {samples} samples, one-hot,", samples * out_size, "take fewer at a time")
        one_hot = np.zeros((samples, out_size))
        one_hot[np.arange(samples), labels.astype(int)] = 1.0
        return one_hot


class Logistic(Loss):
    """Binary cross-entropy of sigmoid(y) in nats, summed over outputs: `softplus(y) - target y`, target in [0, 1].

    Examples
    --------
    >>> yes = ao.Problem(ao.Dense(1, 1), [[-1.0], [1.0]], [0, 1], ao.Logistic(), weight_decay=0.01)
    >>> bool(ao.train(yes).weights[0] > 0)
    True
    """

    name = "logistic"
    elementwise = True

    def value(self, ops: Ops, y: Array, target: Array) -> Array:
        return ops.sum(self.entries(ops, y, target))

    def entries(self, ops: Ops, y: Array, target: Array) -> Array:
        return ops.softplus(y) - y * target

    def gradient(self, ops: Ops, y: Array, target: Array) -> Array:
        return ops.sigmoid(y) - target

    def curvature(self, ops: Ops, y: Array, target: Array, v: Array) -> Array:
        p = ops.sigmoid(y)
        return p * (1.0 - p) * v

    def prepare(self, targets: Any, samples: int, out_size: int) -> np.ndarray:
        array = _one_an_output(targets, super().prepare(targets, samples, out_size), out_size)
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            raise InputError(f"logistic targets must lie in [0, 1], got {array.min():g} .. {array.max():g}")
        return array


class CustomLoss(Loss):
    """A loss from its formula alone.

    Parameters
    ----------
    value : callable
        `value(ops, y, target) -> (B,)`, written with the functions of `ops`; `(B, 1)` is taken too.
    name : str, optional
        The name in tables and messages.

    Examples
    --------
    >>> absolute = ao.CustomLoss(lambda ops, y, target: ops.sum(ops.sqrt(1e-6 + (y - target) ** 2)))
    >>> robust = ao.Problem(ao.Dense(1, 1), [0.0, 1.0, 2.0], [0.0, 1.0, 9.0], absolute)
    >>> bool(np.isfinite(robust.energy(robust.initial_weights())))
    True
    """

    def __init__(self, value: Callable[[Ops, Array, Array], Array], name: str = "custom loss") -> None:
        if not callable(value):
            raise InputError(f"CustomLoss takes a function value(ops, y, target), got {value!r}")
        self.formula = value
        self.name = name

    def __repr__(self) -> str:
        return f"CustomLoss({self.name!r})"

    def value(self, ops: Ops, y: Array, target: Array) -> Array:
        out = self.formula(ops, y, target)
        if ops.rank(out) != ops.rank(y):
            return out
        if ops.size(out) != 1:
            raise InputError(
                f"{self.name}: value returned {ops.size(out)} numbers a sample, expected one; ops.sum adds them"
            )
        return ops.sum(out)


def as_samples(what: str, values: Any) -> np.ndarray:
    """Return a finite float array `(B, d)`; a vector `(B,)` becomes one column.

    Raises
    ------
    InputError
        If the values are not numbers, not finite or not a matrix.
    """
    array = np.array(real_array(what, values, "an array of numbers (B, d)"))
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(f"{what} must have shape (B, d), samples first, got shape {array.shape}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise InputError(f"{what} must be finite, got {array[row, column]} at sample {row}, column {column}")
    return array


def check_samples(targets: np.ndarray, samples: int) -> None:
    """Raise InputError unless there are as many targets as inputs."""
    if len(targets) != samples:
        raise InputError(f"targets must match the {samples} samples of the inputs, got {len(targets)}")


def _probabilities(rows: Any, samples: int) -> np.ndarray:
    rows = as_samples("probabilities of classes", rows)
    check_samples(rows, samples)
    sums = rows.sum(axis=1)
    if rows.min(initial=0.0) < 0.0 or abs(sums - 1.0).max(initial=0.0) > 1e-9:
        sample = int(np.argmax(np.maximum(abs(sums - 1.0), -rows.min(axis=1))))
        raise InputError(f"probabilities of classes must be >= 0 and sum to 1, got {rows[sample]} at sample {sample}")
    return rows


def _numbered(labels: np.ndarray, classes: list[Any] | None, out_size: int) -> np.ndarray:
    """Number labels by their place among the classes, or words in alphabetical order."""
    words = labels.tolist()
    if classes is None:
        if not all(isinstance(word, str) for word in words):  # numbers in an array of objects
            return real_array("labels", labels, "class numbers or words")
        classes = sorted(set(words))
        if len(classes) != out_size:
            raise InputError(
                f"labels are {len(classes)} different words for {out_size} outputs: "
                f"name the classes in order, ao.SoftmaxCrossEntropy(classes=[...])"
            )
    if len(classes) != out_size:
        raise InputError(f"classes must be {out_size}, one an output of the last module, got {len(classes)}")
    places = {label: index for index, label in enumerate(classes)}
    for sample, word in enumerate(words):
        if word not in places:
            raise InputError(f"label {word!r} at sample {sample} is none of the classes {', '.join(map(str, classes))}")
    return np.array([places[word] for word in words])


def _one_an_output(given: Any, targets: np.ndarray, out_size: int) -> np.ndarray:
    if targets.shape[1] != out_size:
        raise InputError(
            f"targets must have {out_size} columns, the outputs of the last module, got {_described(given)}"
        )
    return targets


def _described(values: Any) -> str:
    return "None" if values is None else f"shape {np.shape(values)}"
