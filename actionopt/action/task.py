"""What an action solver is asked: the system, the discretisation, the ends and the constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.action.formulas import point_formula_of, stage_formula_of
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.action.scheme import Scheme
from actionopt.arrays import real_array
from actionopt.errors import InputError
from actionopt.metric.kinds import kind_of
from actionopt.nlp.plugins import check_limits
from actionopt.problem import Problem


@dataclass(frozen=True)
class ActionTask:
    """Minimise `S_h` over the points X `(K, n)` of a scheme.

    Attributes
    ----------
    what : Problem or Lagrangian
        A problem stands for the action of its Riemannian gradient flow.
    scheme : Scheme
    start : array (n,)
        X[0] where finite; NaN components are free.
    end : array (n,)
        X[-1] where finite; NaN components are free.
    lower, upper : array (n,)
        Bounds on every point but fixed ends, infinite where there is none.
    constraint, equality : callable or None
        `constraint(ops, w, v, t)` with components <= 0, `equality(ops, w, v, t)` with components = 0.
    start_constraint, end_constraint : callable or None
        `(ops, w)` with components = 0 at the first and at the last node.
    metric : "layerwise", "joint" or "euclidean"
        Which metric the gradient flow of a problem descends in; "euclidean" is the mass alone.
    """

    what: Problem | Lagrangian
    scheme: Scheme
    start: np.ndarray
    end: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    constraint: Callable[..., Any] | None = None
    equality: Callable[..., Any] | None = None
    start_constraint: Callable[..., Any] | None = None
    end_constraint: Callable[..., Any] | None = None
    metric: str = "layerwise"

    @property
    def size(self) -> int:
        """Number n of coordinates."""
        return self.what.size

    @property
    def free(self) -> np.ndarray:
        """Which entries of X are unknown, `(K, n)` of bool: all but the fixed components of the ends."""
        free = np.ones((len(self.scheme.points), self.size), dtype=bool)
        free[0] = np.isnan(self.start)
        free[-1] = np.isnan(self.end)
        return free

    @property
    def constrained(self) -> bool:
        """Whether there are bounds or constraints."""
        formulas = (self.constraint, self.equality, self.start_constraint, self.end_constraint)
        given = any(formula is not None for formula in formulas)
        return given or bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())


def make_task(
    what: Problem | Lagrangian,
    start: Any,
    end: Any,
    scheme: Scheme,
    bounds: tuple[Any, Any] | None = None,
    constraint: Callable[..., Any] | None = None,
    metric: str = "layerwise",
    *,
    start_constraint: Callable[..., Any] | None = None,
    end_constraint: Callable[..., Any] | None = None,
) -> ActionTask:
    """Check what `minimize_action` is given and gather it.

    Raises
    ------
    InputError
        For a system, ends, bounds or a metric that cannot be used.
    """
    if not isinstance(what, (Problem, Lagrangian)):
        raise InputError(f"expected a Problem or a Lagrangian, got {type(what).__name__}")
    kind_of(metric)
    if isinstance(what, Lagrangian):
        bounds = what.bounds if bounds is None else bounds
        constraint = what.constraint if constraint is None else constraint
    equality = what.equality if isinstance(what, Lagrangian) else None
    n = what.size
    first, last = _end("start", start, n), _end("end", end, n)
    pinned = start_constraint is not None or end_constraint is not None
    if isinstance(what, (Problem, Drift)) and np.isnan([first, last]).all() and not pinned:
        raise InputError("start and end are both free: every flow is a path of action zero; fix one of them")
    lower, upper = _bounds(bounds, n)
    for name, point in (("start", first), ("end", last)):
        outside = np.flatnonzero((point < lower) | (point > upper))
        if len(outside):
            i = outside[0]
            raise InputError(
                f"{name} must lie within the bounds, but component {i} is {point[i]:g}, outside "
                f"[{lower[i]:g}, {upper[i]:g}]"
            )
    return ActionTask(
        what,
        scheme,
        first,
        last,
        lower,
        upper,
        None if constraint is None else stage_formula_of("constraint", constraint),
        None if equality is None else stage_formula_of("equality", equality),
        None if start_constraint is None else point_formula_of("start_constraint", start_constraint),
        None if end_constraint is None else point_formula_of("end_constraint", end_constraint),
        metric,
    )


def _end(name: str, value: Any, n: int) -> np.ndarray:
    point = np.full(n, np.nan) if value is None else _vector(name, value, n)
    if np.isinf(point).any():
        raise InputError(f"{name} must be finite, or NaN where it is free")
    return point


def _vector(name: str, value: Any, n: int) -> np.ndarray:
    vector = np.array(np.atleast_1d(real_array(name, value, f"{n} numbers")))
    if vector.shape != (n,):
        raise InputError(f"{name} must have shape ({n},), got {vector.shape}")
    return vector


def _bounds(bounds: tuple[Any, Any] | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    if bounds is None:
        return np.full(n, -np.inf), np.full(n, np.inf)
    try:
        lower, upper = (np.broadcast_to(real_array("bounds", b), (n,)) for b in bounds)
    except (TypeError, ValueError):
        raise InputError(f"bounds must be (lower, upper), each a number or ({n},), got {bounds!r}") from None
    if not (lower <= upper).all():
        raise InputError("bounds must have lower <= upper in every component")
    return lower, upper


@dataclass(frozen=True)
class Limits:
    """When a solver stops: at a residual of `tol` times the scale of the conditions, or after `max_iterations`."""

    tol: float = 1e-8
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        check_limits(self.tol, self.max_iterations)


def relative(residual: float, scale: float) -> float:
    """Return a residual relative to the scale of its terms; 0 where both vanish."""
    return residual / scale if scale > 0 else (0.0 if residual == 0 else np.inf)
