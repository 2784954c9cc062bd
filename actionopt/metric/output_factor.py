"""Factors of the output metric: matrices L_o with `g_o = L_o^T L_o`, one a sample, of as few rows as its rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from actionopt.metric.output import user_rows
from actionopt.ops import NUMPY
from actionopt.problem import Problem

ROUNDING = 1e-12  # eigenvalues below this part of the largest one are zero


def output_factor(problem: Problem, y: np.ndarray, cost: int = 0) -> np.ndarray:
    """Return a cost's factors, `sqrt(weight) L_o`, at states `y (..., B, d)` of its node.

    Parameters
    ----------
    problem : Problem
    y : array (..., B, d)
    cost : int
        Index of the cost.

    Returns
    -------
    array (..., m, B, d)
        Row i of sample b is `[..., i, b, :]`. m = 0 where the output metric is None or the weight is zero, d for the
        Euclidean one, d - 1 for the Fisher metric of softmax, at most d otherwise.

    Raises
    ------
    InputError
        If the factor has the wrong shape or is not finite, or the Hessian of the loss is not positive semidefinite.
    """
    term = problem.costs[cost]
    loss, targets, weights = term.loss.apart(NUMPY, problem.network.targets[cost])
    if problem.output_metric is None or term.weight == 0.0:
        return np.zeros((*y.shape[:-2], 0, *y.shape[-2:]))
    if callable(problem.output_metric):
        factor = np.stack(np.broadcast_arrays(*user_rows(problem, cost, NUMPY, y, targets)), axis=-3)
        factor = np.broadcast_to(factor, (*y.shape[:-2], *factor.shape[-3:]))
    elif problem.output_metric == "euclidean":
        factor = _identity(y)
    else:
        # a loss that overrides its curvature is no longer described by the closed form of its parent
        closed = CLOSED_FORMS.get(type(loss).curvature)
        factor = hessian_factor(problem, y, cost) if closed is None else closed(y)
    if weights is not None:
        factor = factor * np.sqrt(weights)
    if not np.isfinite(factor).all():
        raise InputError(f"the output metric of module {problem.nodes[term.node].label} is not finite at these outputs")
    if problem.sampling is not None:
        factor = problem.sampling(factor)
    return factor if term.weight == 1.0 else np.sqrt(term.weight) * factor


def loss_factor(problem: Problem, y: np.ndarray, cost: int = 0) -> np.ndarray:
    """Return factors of a cost's own curvature at states `y (..., B, d)` of its node; negative eigenvalues left out.

    They give the Gauss-Newton part of the energy's Hessian, whatever the problem's output metric.
    """
    term = problem.costs[cost]
    loss, _, weights = term.loss.apart(NUMPY, problem.network.targets[cost])
    closed = CLOSED_FORMS.get(type(loss).curvature)
    factor = _roots(*_curvature(problem, y, cost)) if closed is None else closed(y)
    if weights is not None:
        factor = factor * np.sqrt(weights)
    return factor if term.weight == 1.0 else np.sqrt(term.weight) * factor


def hessian_factor(problem: Problem, y: np.ndarray, cost: int = 0) -> np.ndarray:
    """Factorise the Hessian of a cost's loss, sample by sample, by its eigenvectors; `(..., m, B, d)`.

    Raises
    ------
    InputError
        If it has a negative eigenvalue somewhere.
    """
    values, vectors = _curvature(problem, y, cost)
    loss = problem.costs[cost].loss
    if not loss.positive_part and values.min(initial=0.0) < -ROUNDING * _largest(values):
        term = problem.costs[cost]
        sample = int(np.unravel_index(values.argmin(), values.shape)[-2])
        label = problem.nodes[term.node].label
        raise InputError(
            f"the output metric of module {label} is not positive semidefinite: the Hessian of the "
            f"{term.loss.name} has the eigenvalue {values.min():.3g} at sample {sample}; "
            "use output_metric='euclidean' or give a factor of your own"
        )
    return _roots(values, vectors)


def _curvature(problem: Problem, y: np.ndarray, cost: int) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues `(..., B, d)` and eigenvectors `(..., B, d, d)` of a cost's Hessian, unweighted."""
    loss, targets, _ = problem.costs[cost].loss.apart(NUMPY, problem.network.targets[cost])
    columns = [loss.curvature(NUMPY, y, targets, one + 0.0 * y) for one in np.eye(y.shape[-1])]
    hessian = np.stack(columns, axis=-1)
    return np.linalg.eigh(0.5 * (hessian + hessian.swapaxes(-1, -2)))


def _roots(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the rows `sqrt(value) vector^T` of the positive eigenvalues, `(..., m, B, d)`."""
    kept = np.flatnonzero((values > ROUNDING * _largest(values)).reshape(-1, values.shape[-1]).any(axis=0))
    rows = np.sqrt(values[..., kept].clip(0.0))[..., None] * vectors[..., kept].swapaxes(-1, -2)
    return rows.swapaxes(-2, -3)


def _largest(values: np.ndarray) -> float:
    return max(float(abs(values).max(initial=0.0)), np.finfo(float).tiny)


def _identity(y: np.ndarray) -> np.ndarray:
    d = y.shape[-1]
    return np.broadcast_to(np.eye(d)[:, None, :], (*y.shape[:-2], d, y.shape[-2], d))


def _softmax(y: np.ndarray) -> np.ndarray:
    """Factor `diag(p) - p p^T` with d - 1 rows **[ours]**.

    With s = sqrt(p), a unit vector, it is `diag(s) (I - s s^T) diag(s)`; the Householder reflection
    `I - u u^T / (1 + s_d)`, u = s + e_d, takes s to -e_d, so its first d - 1 rows span the complement of s.
    """
    s = np.sqrt(NUMPY.softmax(y))
    d = s.shape[-1]
    last = s[..., -1:]
    reflected = np.concatenate([s[..., :-1] / (1.0 + last), np.ones_like(last)], axis=-1) * s
    factor = -s[..., :-1].swapaxes(-1, -2)[..., None] * reflected[..., None, :, :]
    diagonal = np.einsum("...ibi->...ib", factor[..., : d - 1])  # a view
    diagonal += s[..., :-1].swapaxes(-1, -2)
    return factor


def _logistic(y: np.ndarray) -> np.ndarray:
    p = NUMPY.sigmoid(y)
    return _identity(y) * np.sqrt(p * (1.0 - p))[..., None, :, :]


CLOSED_FORMS: dict[Callable[..., Any], Callable[[np.ndarray], np.ndarray]] = {
    SquaredError.curvature: _identity,
    SoftmaxCrossEntropy.curvature: _softmax,
    Logistic.curvature: _logistic,
}
