"""The metric on the outputs, one positive semidefinite matrix a sample, that the layerwise metric pulls back."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.ops import NUMPY, Ops
from actionopt.ops.base import Array
from actionopt.problem import Problem


def output_product(problem: Problem, cost: int, ops: Ops, y: Array, target: Array, v: Array) -> Array:
    """Apply a cost's part of the output metric, `weight * g_o(y)` with `g_o = L_o^T L_o`, to `v`, sample by sample.

    Parameters
    ----------
    cost : int
        Index of the cost.
    y, v : arrays (..., B, out_size) of `ops`
        States of its node and a tangent of them.
    target : array (B, t)
        Its targets, `network.targets[cost]`, or a symbol for one of them.

    Returns
    -------
    array (..., B, out_size)
        `v` for the Euclidean metric, the Hessian of the loss in y times `v` for Fisher, the user's otherwise.
    """
    term = problem.costs[cost]
    _, plain_target, weights = term.loss.apart(ops, target)
    if callable(problem.output_metric):
        rows = user_rows(problem, cost, ops, y, plain_target)
        terms = [row * ops.sum(row * v, keepdims=True) for row in rows]
        product = sum(terms[1:], start=terms[0])
    elif problem.output_metric == "fisher":
        product, weights = term.loss.curvature(ops, y, target, v), None  # it holds them
    else:
        product = v
    if weights is not None:
        product = product * weights
    return product if term.weight == 1.0 else term.weight * product


def user_rows(problem: Problem, cost: int, ops: Ops, y: Array, target: Array) -> Sequence[Array]:
    """Evaluate the user's output metric at a cost's node: the m rows of the factor L_o, each `(..., B, out_size)`.

    Raises
    ------
    InputError
        If the factor has the wrong shape, or only NumPy can evaluate it and derivatives are wanted.
    """
    metric: Any = problem.output_metric
    label = problem.nodes[problem.costs[cost].node].label
    arguments = len(inspect.signature(metric).parameters)
    if arguments >= 3:
        return _check_rows(label, metric(ops, y, target), ops, y)
    if ops is not NUMPY:
        raise InputError(
            "this computation needs derivatives of the output metric: write it as output_metric(ops, outputs, "
            "targets), returning a list of rows (..., B, out_size), with the functions of ops alone"
        )
    factor = np.asarray(metric(y) if arguments == 1 else metric(y, target), dtype=float)
    if factor.ndim < 2 or factor.shape[-1] != y.shape[-1] or not _fits(factor[..., 0, :].shape, y.shape):
        raise InputError(
            f"output_metric must return factors (m, {y.shape[-1]}) or {(*y.shape[:-1], 'm', y.shape[-1])} for the "
            f"outputs {y.shape} of module {label}, got shape {factor.shape}".replace("'", "")
        )
    return [np.broadcast_to(factor[..., i, :], y.shape) for i in range(factor.shape[-2])]


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of that shape broadcasts to the target shape."""
    return len(shape) <= len(target) and all(a in (1, b) for a, b in zip(shape[::-1], target[::-1], strict=False))


def _check_rows(label: str, rows: Any, ops: Ops, y: Array) -> Sequence[Array]:
    expected = (
        f"output_metric(ops, outputs, targets) must return a list of at least one row (..., B, {ops.size(y)}) for the "
        f"outputs of module {label}"
    )
    if not isinstance(rows, (list, tuple)):  # the rows of an array would be its samples
        raise InputError(f"{expected}, got {type(rows).__name__}")
    sizes = [ops.size(row) for row in rows]
    if not rows or any(size != ops.size(y) for size in sizes):
        raise InputError(f"{expected}, got rows of {sizes} features")
    if ops is NUMPY and not all(_fits(row.shape, y.shape) for row in rows):
        raise InputError(f"{expected}, got rows of shape {[row.shape for row in rows]} for outputs {y.shape}")
    return rows
