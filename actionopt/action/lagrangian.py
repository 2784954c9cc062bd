"""Lagrangians l(w, v): what an action integrates over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from actionopt.action.formulas import stage_formula_of
from actionopt.action.noise import Constant, make_form
from actionopt.errors import InputError, check_labels, check_name
from actionopt.ops import NUMPY, Ops
from actionopt.ops.base import Array
from actionopt.origin import Rebuilt


class Lagrangian(Rebuilt):
    """A Lagrangian from its formula: the action is `S[w] = int l(w, w') dt`.

    Parameters
    ----------
    size : int
        Number n of coordinates.
    value : callable
        `value(ops, w, v) -> scalar` or `value(ops, w, v, t) -> scalar`, written with the functions of `ops`. On NumPy
        w and v are `(..., n)` and the result `(...)` or `(..., 1)`; on CasADi they are rows `(1, n)`.
        `x, y = ops.columns(w)` takes w apart; t has the shape of such a column.
    bounds : (lower, upper), optional
        Bounds on w, each one number or `(n,)`, infinite where there is none.
    equality : callable, optional
        `equality(ops, w, v)` or `(ops, w, v, t)` with components that must be zero along the trajectory, such as
        dynamics `x' - f(x, u)`.
    constraint : callable, optional
        Path constraint `constraint(ops, w, v)` or `(ops, w, v, t)` with components that must be <= 0 along the
        trajectory.
    end_cost : callable, optional
        `end_cost(ops, w) -> scalar`, of the last node, added to the action.
    energy : callable, optional
        `energy(ops, w) -> scalar`: a potential to report beside the action, where the system has one.
    name : str, optional
        Name in tables and figures.
    labels : sequence of str, optional
        Names of the coordinates in figures.

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
        value: Callable[..., Array],
        *,
        bounds: tuple[Any, Any] | None = None,
        equality: Callable[..., Array] | None = None,
        constraint: Callable[..., Array] | None = None,
        end_cost: Callable[[Ops, Array], Array] | None = None,
        energy: Callable[[Ops, Array], Array] | None = None,
        name: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise InputError(f"Lagrangian: size must be a whole number >= 1, got {size!r}")
        if not callable(value):
            raise InputError(f"Lagrangian: value must be a function value(ops, w, v), got {value!r}")
        self.size = int(size)
        self.formula = stage_formula_of("Lagrangian: value", value)
        self.bounds = bounds
        self.equality, self.constraint, self.end_cost = equality, constraint, end_cost
        self.potential = energy
        check_name(type(self).__name__, name)
        self.name = name or type(self).__name__.lower()
        self.coordinates = check_labels(labels, self.size)

    def value(self, ops: Ops, w: Array, v: Array, t: Array = 0.0) -> Array:
        """Evaluate l at `w, v (..., n)` and time t, of the shape of a column of w: `(...)`."""
        out = self.formula(ops, w, v, t)
        return ops.sum(out) if ops.rank(out) == ops.rank(w) else out

    @property
    def has_energy(self) -> bool:
        """Whether there is a potential."""
        return self.potential is not None

    @property
    def numbers(self) -> int:
        """How many numbers an evaluation at one point holds."""
        return self.size

    def energy(self, w: Any) -> np.ndarray | None:
        """Evaluate the potential at `w (..., n)`: `(...)`; None where the system has none."""
        if self.potential is None:
            return None
        w = np.asarray(w, dtype=float)
        out = self.potential(NUMPY, w)
        return NUMPY.sum(out) if NUMPY.rank(out) == NUMPY.rank(w) else out

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size}, name={self.name!r})"


class Drift(Lagrangian):
    """The Lagrangian `1/2 |v - drift(w)|^2_M` of a flow `w' = drift(w)` (Onsager-Machlup without its noise term).

    Of the stochastic equation `dw = drift dt + sqrt(eps) sigma dW` it is the Freidlin-Wentzell Lagrangian, with the
    noise `a = sigma sigma^T` and `M = a^{-1}`.

    Parameters
    ----------
    size : int
        Number n of coordinates.
    drift : callable
        `drift(ops, w)`, of the shape of w.
    metric : float, array (n,), array (n, n) or callable, optional
        M: a multiple of the identity, a diagonal, or a symmetric positive definite matrix; the identity where None.
        Where it depends on the state, `metric(ops, w)` returns a number or column, a diagonal `(..., n)`, or a list of
        n rows `(..., n)`.
    noise : float, array (n,), array (n, n) or callable, optional
        `a = M^{-1}` in place of M, in the same forms.
    **options
        As for `Lagrangian`.

    Raises
    ------
    InputError
        If a constant metric or noise is not positive definite, a formula gives another shape, or both are given.

    Examples
    --------
    Birth and death, each with noise of its own rate (the chemical Langevin equation):

    >>> birth = lambda ops, w: 2.0 / (1.0 + w * w)
    >>> gene = Drift(1, lambda ops, w: birth(ops, w) - w, noise=lambda ops, w: birth(ops, w) + w)
    """

    def __init__(
        self,
        size: int,
        drift: Callable[[Ops, Array], Array],
        metric: Any = None,
        noise: Any = None,
        **options: Any,
    ) -> None:
        if not callable(drift):
            raise InputError(f"Drift: drift must be a function drift(ops, w), got {drift!r}")
        super().__init__(size, self._density, **options)
        self.drift = drift
        self.form = make_form(metric, noise, self.size)

    @property
    def metric(self) -> np.ndarray | None:
        """M as a diagonal `(n,)` or a matrix `(n, n)`; None where it depends on the state."""
        return self.form.metric if isinstance(self.form, Constant) else None

    def _density(self, ops: Ops, w: Array, v: Array) -> Array:
        return 0.5 * self.form.square(ops, w, v - self.drift(ops, w))
