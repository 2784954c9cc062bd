"""Losses whose samples, or entries of whose targets, count more, less or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.arrays import real_array
from actionopt.errors import InputError
from actionopt.losses import Loss, SoftmaxCrossEntropy
from actionopt.ops import Ops
from actionopt.ops.base import Array


class WeightedLoss(Loss):
    """A loss times a weight a sample, or a weight an output where the loss is a sum over outputs.

    `E = 1/B sum_b s_b loss(z_b, y_b)`, or `1/B sum_b sum_i s_bi loss_i(z_bi, y_bi)`. The mean stays over all B samples.
    The output metric of a sample is scaled in the same way, whichever it is: a sample of weight two is two samples.

    Parameters
    ----------
    loss : Loss
    weights : array (B,) or (B, out_size)
        Not negative, not all zero. One an output for losses that are sums over outputs (`SquaredError`, `Logistic`).

    Examples
    --------
    >>> import actionopt as ao
    >>> loss = WeightedLoss(ao.SquaredError(), [1.0, 3.0])
    >>> ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 1.0], loss).energy([0.0, 0.0])
    1.0
    """

    def __init__(self, loss: Loss, weights: Any) -> None:
        if not isinstance(loss, Loss):
            raise InputError(f"WeightedLoss takes a Loss such as ao.SquaredError(), got {loss!r}")
        weights = real_array("weights", weights, "numbers (B,) or (B, out_size)")
        weights = weights[:, None] if weights.ndim == 1 else weights
        if weights.ndim != 2 or not weights.size:
            raise InputError(f"weights must have shape (B,) or (B, out_size), got {weights.shape}")
        if not (np.isfinite(weights).all() and (weights >= 0.0).all() and weights.any()):
            raise InputError("weights must be finite, not negative, and not all zero")
        if weights.shape[1] > 1 and not loss.elementwise:
            raise InputError(
                f"the {loss.name} is no sum over outputs: give one weight a sample, (B,), got shape {weights.shape}"
            )
        self.loss, self.weights = loss, weights
        self.name = f"weighted {loss.name}"

    def __repr__(self) -> str:
        return f"WeightedLoss({self.loss!r}, weights {self.weights.shape})"

    def value(self, ops: Ops, y: Array, target: Array) -> Array:
        _, inner, weights = self.apart(ops, target)
        if self.weights.shape[1] > 1:
            return ops.sum(self.loss.entries(ops, y, inner) * weights)
        return self.loss.value(ops, y, inner) * ops.sum(weights)

    def gradient(self, ops: Ops, y: Array, target: Array) -> Array:
        _, inner, weights = self.apart(ops, target)
        return self.loss.gradient(ops, y, inner) * weights

    def curvature(self, ops: Ops, y: Array, target: Array, v: Array) -> Array:
        _, inner, weights = self.apart(ops, target)
        return self.loss.curvature(ops, y, inner, v) * weights

    def apart(self, ops: Ops, target: Array) -> tuple[Loss, Array, Array | None]:
        """Take targets apart: the loss without weights, its targets, and the weights, the last columns of ours."""
        columns = self.weights.shape[1]
        inner, weights = ops.split(target, [ops.size(target) - columns, columns])
        return self.loss, inner, weights

    def prepare(self, targets: Any, samples: int, out_size: int) -> np.ndarray:
        inner = self.loss.prepare(targets, samples, out_size)
        if len(self.weights) != samples:
            raise InputError(f"weights must match the {samples} samples of the inputs, got {len(self.weights)}")
        if self.weights.shape[1] not in (1, out_size):
            raise InputError(f"weights must have 1 or {out_size} columns, got {self.weights.shape[1]}")
        return np.concatenate([inner, self.weights], axis=1)


def weigh(loss: Any, targets: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return loss and targets with what makes samples count differently inside the loss.

    Parameters
    ----------
    sample_weight : array (B,) or None
        Scaled to mean one, as scikit-learn's average over samples has it.
    targets
        Masked entries of a masked array count nothing: `1/B sum` over those that are there.

    Raises
    ------
    InputError
        If weights are wrong, or the loss cannot leave out single entries.
    """
    if isinstance(targets, np.ma.MaskedArray) and isinstance(loss, Loss):
        present = ~np.ma.getmaskarray(targets)
        targets = targets.filled(targets.data[present].flat[0] if present.any() else 0)
        if not present.all():
            loss = WeightedLoss(loss, _of_entries(loss, present))
    if sample_weight is None:
        return loss, targets
    weights = real_array("sample_weight", sample_weight, "one number a sample (B,)")
    if weights.ndim != 1 or not weights.sum() > 0.0:
        raise InputError(f"sample_weight must be (B,), not negative and not all zero, got shape {weights.shape}")
    return WeightedLoss(loss, weights / weights.mean()) if not isinstance(loss, WeightedLoss) else _both(
        loss, weights
    ), targets


def _both(loss: WeightedLoss, weights: np.ndarray) -> WeightedLoss:
    if len(weights) != len(loss.weights):
        raise InputError(f"sample_weight must match the {len(loss.weights)} samples, got {len(weights)}")
    return WeightedLoss(loss.loss, loss.weights * (weights / weights.mean())[:, None])


def _of_entries(loss: Loss, present: np.ndarray) -> np.ndarray:
    if present.ndim == 1 or isinstance(loss, SoftmaxCrossEntropy):
        return np.asarray(present.reshape(len(present), -1).all(axis=1), dtype=float)
    return np.asarray(present, dtype=float)
