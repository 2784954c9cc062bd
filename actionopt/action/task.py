"""What an action solver is asked: the system, the discretisation, the ends and the constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actionopt.action.lagrangian import Lagrangian
from actionopt.action.scheme import Scheme
from actionopt.errors import InputError, unknown_name
from actionopt.metric.batched import METRICS
from actionopt.problem import Problem

# what may be said of a path that a solver calls converged
STATIONARY = "as a rule a local minimum: other guesses may end elsewhere, symmetric ones on a saddle of the action"


@dataclass(frozen=True)
class ActionTask:
    """Minimise `S_h` over the points X `(K, n)` of a scheme.

    Attributes
    ----------
    what : Problem or Lagrangian
        A problem stands for the action of its Riemannian gradient flow.
    scheme : Scheme
    start : array (n,)
        X[0], fixed.
    end : array (n,)
        X[-1] where finite; NaN components are free.
    lower, upper : array (n,)
        Bounds on every point but the start, infinite where there is none.
    constraint : callable or None
        `constraint(ops, w, v)`, components <= 0 at every stage.
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
    metric: str = "layerwise"

    @property
    def size(self) -> int:
        """Number n of coordinates."""
        return self.what.size

    @property
    def free(self) -> np.ndarray:
        """Which entries of X are unknown, `(K, n)` of bool: all but the start and the fixed end components."""
        free = np.ones((len(self.scheme.points), self.size), dtype=bool)
        free[0] = False
        free[-1] = np.isnan(self.end)
        return free

    @property
    def constrained(self) -> bool:
        """Whether there are bounds or path constraints."""
        return self.constraint is not None or bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())


def make_task(
    what: Problem | Lagrangian,
    start: Any,
    end: Any,
    scheme: Scheme,
    bounds: tuple[Any, Any] | None = None,
    constraint: Callable[..., Any] | None = None,
    metric: str = "layerwise",
) -> ActionTask:
    """Check what `minimize_action` is given and gather it.

    Raises
    ------
    InputError
        For a system, ends, bounds or a metric that cannot be used.
    """
    if not isinstance(what, (Problem, Lagrangian)):
        raise InputError(f"expected a Problem or a Lagrangian, got {type(what).__name__}")
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if isinstance(what, Lagrangian):
        bounds = what.bounds if bounds is None else bounds
        constraint = what.constraint if constraint is None else constraint
    n = what.size
    first = _vector("start", start, n)
    if not np.isfinite(first).all():
        raise InputError("start must be finite")
    last = np.full(n, np.nan) if end is None else _vector("end", end, n)
    if np.isinf(last).any():
        raise InputError("end must be finite, or NaN where it is free")
    lower, upper = _bounds(bounds, n)
    for name, point in (("start", first), ("end", last)):
        outside = np.flatnonzero((point < lower) | (point > upper))
        if len(outside):
            i = outside[0]
            raise InputError(
                f"{name} must lie within the bounds, but component {i} is {point[i]:g}, outside "
                f"[{lower[i]:g}, {upper[i]:g}]"
            )
    return ActionTask(what, scheme, first, last, lower, upper, constraint, metric)


def _vector(name: str, value: Any, n: int) -> np.ndarray:
    try:
        vector = np.atleast_1d(np.array(value, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be {n} numbers, got {value!r}: {error}") from None
    if vector.shape != (n,):
        raise InputError(f"{name} must have shape ({n},), got {vector.shape}")
    return vector


def _bounds(bounds: tuple[Any, Any] | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    if bounds is None:
        return np.full(n, -np.inf), np.full(n, np.inf)
    try:
        lower, upper = (np.broadcast_to(np.asarray(b, dtype=float), (n,)) for b in bounds)
    except (TypeError, ValueError):
        raise InputError(f"bounds must be (lower, upper), each a number or ({n},), got {bounds!r}") from None
    if not (lower <= upper).all():
        raise InputError("bounds must have lower <= upper in every component")
    return lower, upper


@dataclass(frozen=True)
class ActionSolution:
    """What an action solver answers.

    Attributes
    ----------
    points : array (K, n)
        The best X found, fixed entries included.
    success : bool
    status : str
        One word or two, as the solver says it: "converged", "iteration limit", "interrupted", ...
    message : str
        What happened and, where it failed, what to try.
    stats : dict
        `iterations`, `build_time` and `solve_time` in seconds, `gradient_norm` (largest entry of dS_h/dX over the
        free entries), and what the solver adds.
    """

    points: np.ndarray
    success: bool
    status: str
    message: str
    stats: dict[str, Any] = field(default_factory=dict)
