"""Noise and metrics of a drift: constant or depending on the state, and the square of a residual in them.

Either is one number, a diagonal or a symmetric positive definite matrix. What depends on the state is a formula
`(ops, w)` that returns the same shapes: a number or a column, a diagonal `(..., n)`, or a list of n rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.arrays import real_array
from actionopt.errors import InputError
from actionopt.ops import NUMPY, Ops
from actionopt.ops.base import Array

DEFINITE = 1e-14  # eigenvalue, relative to the largest, below which a noise counts as singular
Entries = list[Any]  # a diagonal, or a list of rows


class Constant:
    """A metric M that is the same everywhere, `(n,)` or `(n, n)`."""

    def __init__(self, metric: np.ndarray) -> None:
        self.metric = metric

    def square(self, ops: Ops, w: Array, r: Array) -> Array:
        """Return `r . M r`."""
        if self.metric.ndim == 1:
            return ops.sum(r * r * ops.row(self.metric))
        return ops.sum(r * ops.matmul(r, self.metric))

    def metric_at(self, w: np.ndarray, check: bool = True) -> np.ndarray:
        """Return M at `w (..., n)`: `(..., n, n)`."""
        n = w.shape[-1]
        return np.broadcast_to(np.diag(self.metric) if self.metric.ndim == 1 else self.metric, (*w.shape[:-1], n, n))


class Varying:
    """A metric `M(w)`, or a noise `a(w) = M(w)^{-1}`, by its formula."""

    def __init__(self, what: str, formula: Callable[[Ops, Array], Any], size: int) -> None:
        self.what, self.formula, self.size = what, formula, size
        self._probe()

    def square(self, ops: Ops, w: Array, r: Array) -> Array:
        """Return `r . M r`, kept with length one; NaN or infinite where the noise is not positive definite."""
        entries, columns = self._entries(ops, w), ops.columns(r)
        if self.what == "noise":
            return _square_of_inverse(ops, entries, columns)
        if not isinstance(entries[0], list):
            return _sum([m * x * x for m, x in zip(entries, columns, strict=True)])
        products = [_sum([m * x for m, x in zip(row, columns, strict=True)]) for row in entries]
        return _sum([x * y for x, y in zip(columns, products, strict=True)])

    def metric_at(self, w: np.ndarray, check: bool = True) -> np.ndarray:
        """Return M at `w (..., n)`: `(..., n, n)`; NaN where it is not positive definite and `check` is False.

        Raises
        ------
        InputError
            Where it is not symmetric positive definite: the first such point is named.
        """
        matrix = self._matrix(w)
        finite = np.isfinite(matrix).all(axis=(-1, -2))
        eigenvalues = np.linalg.eigvalsh(np.where(finite[..., None, None], matrix, 0.0))
        symmetric = np.isclose(matrix, matrix.swapaxes(-1, -2), rtol=1e-9, atol=0.0).all(axis=(-1, -2))
        wrong = ~(finite & symmetric & (eigenvalues[..., 0] > DEFINITE * eigenvalues[..., -1]))
        if check and wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise InputError(_indefinite(self.what, matrix[first], f" at w = {_point(w[first])}"))
        sound = np.where(wrong[..., None, None], np.eye(self.size), matrix)
        metric = np.linalg.inv(sound) if self.what == "noise" else sound
        return np.where(wrong[..., None, None], np.nan, metric)

    def _matrix(self, w: np.ndarray) -> np.ndarray:
        entries = self._entries(NUMPY, w)
        if isinstance(entries[0], list):
            rows = [_joined(row, w) for row in entries]
            return np.stack(rows, axis=-2)
        return _joined(entries, w)[..., None] * np.eye(self.size)

    def _entries(self, ops: Ops, w: Array) -> Entries:
        """Take what the formula returns apart: a diagonal of n columns, or n rows of n columns."""
        value, n = self.formula(ops, w), self.size
        if not isinstance(value, (list, tuple)):
            return _columns(ops, value, n)
        if len(value) != n:
            raise InputError(f"Drift: {self.what}(ops, w) must return {n} rows, got {len(value)}")
        if n > 1 and all(not isinstance(row, (list, tuple)) and _width(ops, row) == 1 for row in value):
            return list(value)
        rows = [list(row) if isinstance(row, (list, tuple)) else _columns(ops, row, _width(ops, row)) for row in value]
        if any(len(row) != n for row in rows):
            lengths = ", ".join(str(len(row)) for row in rows)
            raise InputError(f"Drift: {self.what}(ops, w) must return rows of {n} entries, got {lengths}")
        return rows

    def _probe(self) -> None:
        """Call the formula once on NumPy, where wrong shapes cannot be mistaken for others."""
        n, w = self.size, np.ones((self.size + 1, self.size))
        expected = f"a number, a diagonal (..., {n}) or a list of {n} rows, written with the functions of ops"
        try:
            with np.errstate(all="ignore"):
                matrix = self._matrix(w)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"Drift: {self.what}(ops, w) must return {expected}; {type(error).__name__}: {error}"
            ) from error
        if matrix.shape != (n + 1, n, n):
            raise InputError(f"Drift: {self.what}(ops, w) must return {expected}; it gave shape {matrix.shape}")


def make_form(metric: Any, noise: Any, size: int) -> Constant | Varying:
    """Return the metric `M = a^{-1}` of a drift from whichever is given, the identity where neither is.

    Raises
    ------
    InputError
        If both are given, or one is no symmetric positive definite matrix.
    """
    if metric is not None and noise is not None:
        raise InputError("Drift: give metric= or noise=, not both: each is the inverse of the other")
    what, value = ("metric", metric) if noise is None else ("noise", noise)
    if callable(value):
        return Varying(what, value, size)
    array = _constant(what, 1.0 if value is None else value, size)
    if what == "metric":
        return Constant(array)
    return Constant(1.0 / array if array.ndim == 1 else np.linalg.inv(array))


def _constant(what: str, value: Any, size: int) -> np.ndarray:
    """Return a diagonal `(n,)` or a matrix `(n, n)`; raise InputError unless positive definite."""
    array = real_array(f"Drift: {what}", value, f"a number, ({size},) or ({size}, {size})")
    if array.ndim == 0:
        array = np.full(size, array)
    if array.shape not in ((size,), (size, size)):
        raise InputError(f"Drift: {what} must be a number, ({size},) or ({size}, {size}), got shape {array.shape}")
    matrix = np.diag(array) if array.ndim == 1 else array
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
        raise InputError(_indefinite(what, matrix, ""))
    eigenvalues = np.linalg.eigvalsh(matrix) if array.ndim == 2 else np.sort(array)
    if not eigenvalues[0] > (DEFINITE * eigenvalues[-1] if array.ndim == 2 else 0.0):
        raise InputError(_indefinite(what, matrix, ""))
    return array


def _indefinite(what: str, matrix: np.ndarray, where: str) -> str:
    """Say why a matrix is no noise or metric, and what to do where it is singular."""
    message = f"Drift: {what} must be symmetric positive definite and finite{where}"
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
        return message
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -DEFINITE * abs(values[-1]) or what == "metric":
        return f"{message}; its least eigenvalue is {values[0]:.3g}"
    return (
        f"{message}; it is singular: nothing drives the direction {_point(vectors[:, 0])}, so that a path which leaves "
        "the drift there has infinite action. Write the action of the driven components alone: of a position without "
        "noise (kinetic Langevin, m x'' + c x' = b) it is the second-order one, ao.Inertial; of others an "
        "ao.Lagrangian, whose equality= holds the components without noise to their drift"
    )


def _square_of_inverse(ops: Ops, entries: Entries, columns: list[Array]) -> Array:
    """Return `r . a^{-1} r = |C^{-1} r|^2` with the Cholesky factor C of a, entry by entry in any namespace."""
    if not isinstance(entries[0], list):
        return _sum([(x / ops.sqrt(a)) * (x / ops.sqrt(a)) for a, x in zip(entries, columns, strict=True)])
    lower: list[list[Any]] = []
    solved: list[Any] = []
    for i, row in enumerate(entries):
        new: list[Any] = []
        for j in range(i):
            new.append((row[j] - _sum([new[k] * lower[j][k] for k in range(j)])) / lower[j][j])
        pivot = ops.sqrt(row[i] - _sum([x * x for x in new]))
        solved.append((columns[i] - _sum([new[k] * solved[k] for k in range(i)])) / pivot)
        lower.append([*new, pivot])
    return _sum([y * y for y in solved])


def _sum(terms: list[Any]) -> Any:
    total: Any = 0.0
    for term in terms:
        total = total + term
    return total


def _width(ops: Ops, x: Any) -> int:
    """Length of the last axis; a number has one."""
    return 1 if np.isscalar(x) or (isinstance(x, np.ndarray) and x.ndim == 0) else ops.size(x)


def _columns(ops: Ops, x: Any, n: int) -> list[Any]:
    """Return the entries of a row, or n times a column or a number."""
    width = _width(ops, x)
    if width == 1:
        return [x] * n
    if isinstance(x, np.ndarray) and x.ndim == 1:
        return list(x)
    return ops.columns(x)


def _joined(entries: list[Any], w: np.ndarray) -> np.ndarray:
    """Join numbers and columns to `(..., n)` at w."""
    shape = (*w.shape[:-1], 1)
    return np.concatenate([np.broadcast_to(np.asarray(x, dtype=float), shape) for x in entries], axis=-1)


def _point(w: np.ndarray) -> str:
    return np.array2string(np.asarray(w), precision=4, threshold=6)
