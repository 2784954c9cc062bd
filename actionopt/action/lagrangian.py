"""Lagrangians l(w, v): what an action integrates over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Lagrangian:
    """A Lagrangian from its formula: the action is `S[w] = int l(w, w') dt`.

    Parameters
    ----------
    size : int
        Number n of coordinates.
    value : callable
        `value(ops, w, v) -> scalar`, written with the functions of `ops`. On NumPy w and v are `(..., n)` and the
        result `(...)` or `(..., 1)`; on CasADi they are rows `(1, n)`. `x, y = ops.columns(w)` takes w apart.
    bounds : (lower, upper), optional
        Bounds on w, each one number or `(n,)`, infinite where there is none.
    constraint : callable, optional
        Path constraint `constraint(ops, w, v)` with components that must be <= 0 along the trajectory.
    energy : callable, optional
        `energy(ops, w) -> scalar`: a potential to report beside the action, where the system has one.
    name : str, optional
        Name in tables and figures.

    Notes
    -----
    The momentum is `p = dl/dv`, the Hamiltonian `H = p . v - l`, constant along extremals.

    Examples
    --------
    The linear-quadratic regulator with dynamics `x' = u`:

    >>> lqr = Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(w * w + v * v))
    """

    def __init__(
        self,
        size: int,
        value: Callable[[Ops, Array, Array], Array],
        *,
        bounds: tuple[Any, Any] | None = None,
        constraint: Callable[[Ops, Array, Array], Array] | None = None,
        energy: Callable[[Ops, Array], Array] | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise InputError(f"Lagrangian: size must be a whole number >= 1, got {size!r}")
        if not callable(value):
            raise InputError(f"Lagrangian: value must be a function value(ops, w, v), got {value!r}")
        self.size = int(size)
        self.formula = value
        self.bounds = bounds
        self.constraint = constraint
        self.potential = energy
        self.name = name or type(self).__name__.lower()

    def value(self, ops: Ops, w: Array, v: Array) -> Array:
        """Evaluate l at `w, v (..., n)`: `(...)`."""
        out = self.formula(ops, w, v)
        return ops.sum(out) if ops.rank(out) == ops.rank(w) else out

    def energy(self, ops: Ops, w: Array) -> Array | None:
        """Evaluate the potential at `w (..., n)`: `(...)`; None where the system has none."""
        if self.potential is None:
            return None
        out = self.potential(ops, w)
        return ops.sum(out) if ops.rank(out) == ops.rank(w) else out

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size}, name={self.name!r})"


class Drift(Lagrangian):
    """The Lagrangian `1/2 |v - drift(w)|^2_M` of a deterministic flow `w' = drift(w)` (Onsager-Machlup without noise).

    Parameters
    ----------
    size : int
        Number n of coordinates.
    drift : callable
        `drift(ops, w)`, of the shape of w.
    metric : float, array (n,) or array (n, n), optional
        Constant metric M: a multiple of the identity, a diagonal, or a symmetric positive definite matrix;
        the identity where None.
    **options
        As for `Lagrangian`.
    """

    def __init__(
        self,
        size: int,
        drift: Callable[[Ops, Array], Array],
        metric: Any = None,
        **options: Any,
    ) -> None:
        if not callable(drift):
            raise InputError(f"Drift: drift must be a function drift(ops, w), got {drift!r}")
        super().__init__(size, self._square, **options)
        self.drift = drift
        self.metric = _metric(1.0 if metric is None else metric, self.size)

    def _square(self, ops: Ops, w: Array, v: Array) -> Array:
        residual = v - self.drift(ops, w)
        if self.metric.ndim == 1:
            return 0.5 * ops.sum(residual * residual * ops.row(self.metric))
        return 0.5 * ops.sum(residual * ops.matmul(residual, self.metric))


def _metric(metric: Any, size: int) -> np.ndarray:
    """Return the metric as a diagonal `(n,)` or a matrix `(n, n)`; raise InputError unless positive definite."""
    array = np.asarray(metric, dtype=float)
    if array.ndim == 0:
        array = np.full(size, array)
    if array.shape not in ((size,), (size, size)):
        raise InputError(f"Drift: metric must be a number, ({size},) or ({size}, {size}), got shape {array.shape}")
    if array.ndim == 1:
        definite = np.isfinite(array).all() and (array > 0).all()
    else:
        definite = np.isfinite(array).all() and np.allclose(array, array.T) and np.linalg.eigvalsh(array)[0] > 0
    if not definite:
        raise InputError("Drift: metric must be symmetric positive definite and finite")
    return array
