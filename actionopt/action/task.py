"""What an action solver is asked: the system, the discretisation, the ends and the constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actionopt.action.lagrangian import Lagrangian
from actionopt.action.scheme import Scheme
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
