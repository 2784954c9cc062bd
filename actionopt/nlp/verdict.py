"""What became of a solve: the first-order residuals that we compute, and the status that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.errors import InputError

ADVICE = {
    "converged": "first-order conditions hold to the tolerance",
    "iteration limit": "more iterations (max_iterations=), a looser tol, or a start nearer to the answer may get there",
    "time limit": "more time (time_limit=), a looser tol, or a start nearer to the answer may get there",
    "infeasible": "the solver found no point that satisfies the constraints: check bounds and fixed ends, "
    "or start nearer to a feasible point",
    "not finite": "a formula or its derivative gave NaN or infinity at the start or at an iterate: start elsewhere, "
    "or keep it in range with bounds",
    "unbounded": "the objective falls without end: bounds or a term such as weight_decay keep it from doing so",
    "ascended": "the first-order conditions hold, but above the start: a saddle or a maximum, not a minimum; "
    "take another solver, such as ipopt, or another start",
    "interrupted": "this is the last iterate, from which another run can go on",
    "stopped": "the solver could not improve further: loosen tol, scale the problem, start elsewhere, "
    "or try another solver",
}
FALLEN = 1e12  # how many times its size at the start, and its scale, an objective falls to count as unbounded
LOOSENED = 1e-8  # what fatrop adds to bounds
FAR = 1e-4  # violation beyond which a solver that stopped has not found a feasible point


@dataclass(frozen=True)
class Bounds:
    """Bounds on x and g, numbers or arrays.

    Raises
    ------
    InputError
        If they cross.
    """

    lbx: Any
    ubx: Any
    lbg: Any
    ubg: Any

    def __post_init__(self) -> None:
        for name, lower, upper in (("x", self.lbx, self.ubx), ("g", self.lbg, self.ubg)):
            if np.any(np.asarray(lower) > np.asarray(upper)):
                raise InputError(f"bounds on {name} cross: a lower bound lies above its upper bound")

    @property
    def equalities(self) -> np.ndarray:
        """Which constraints are equalities."""
        return np.equal(self.lbg, self.ubg)

    def for_solver(self, solver: str) -> dict[str, Any]:
        """Return the bounds as a plugin should get them.

        fatrop loosens every inequality by 1e-8 of its size and has no option to leave it; it gets them tighter by as
        much, so that its solutions keep the bounds.
        """
        given = {"lbx": self.lbx, "ubx": self.ubx, "lbg": self.lbg, "ubg": self.ubg}
        if solver == "fatrop":
            for lower, upper in (("lbx", "ubx"), ("lbg", "ubg")):
                given[lower], given[upper] = _tightened(given[lower], given[upper])
        return given

    def violation(self, x: np.ndarray, g: np.ndarray, sizes: Any = 1.0) -> np.ndarray:
        """Return by how much each bound is broken, those of g over the `sizes` of its entries."""
        return np.concatenate([self.lbx - x, x - self.ubx, (self.lbg - g) / sizes, (g - self.ubg) / sizes])

    def complementarity(self, x: np.ndarray, g: np.ndarray, lam_x: np.ndarray, lam_g: np.ndarray) -> np.ndarray:
        """Return |multiplier| times the distance from its bound; from no bound at all that distance counts as 1."""
        pairs = ((x, lam_x, self.lbx, self.ubx), (g, lam_g, self.lbg, self.ubg))
        distances = [np.where(lam > 0, ub - at, at - lb) for at, lam, lb, ub in pairs]
        multipliers = abs(np.concatenate([lam_x, lam_g]))
        return multipliers * np.nan_to_num(np.concatenate(distances), nan=np.nan, posinf=1.0)


@dataclass(frozen=True)
class Residuals:
    """How far the first-order conditions are from holding, in the program's own units and relative to its scale.

    Attributes
    ----------
    stationarity : float
        Largest |d Lagrangian / dx|.
    infeasibility : float
        Largest violation of a bound or constraint.
    complementarity : float
        Largest |multiplier| times distance from its bound.
    scale : float
        The size of the terms of the first-order conditions, by which stationarity and complementarity are divided.
    relative_infeasibility : float
        The largest violation, that of a constraint over the size of what it compares.
    """

    stationarity: float
    infeasibility: float
    complementarity: float
    scale: float
    relative_infeasibility: float

    @property
    def worst(self) -> float:
        """The largest scaled residual, which `tol` bounds; NaN where one is."""
        scaled = [self.stationarity / self.scale, self.complementarity / self.scale, self.relative_infeasibility]
        return float(np.max(scaled))

    def stats(self) -> dict[str, float]:
        """Return all of them by name, the scaled ones as `scaled_...`."""
        return {
            "stationarity": self.stationarity,
            "infeasibility": self.infeasibility,
            "complementarity": self.complementarity,
            "scale": self.scale,
            "scaled_stationarity": self.stationarity / self.scale,
            "scaled_infeasibility": self.relative_infeasibility,
            "scaled_complementarity": self.complementarity / self.scale,
        }

    def __str__(self) -> str:
        return (
            f"stationarity {self.stationarity / self.scale:.1e}, infeasibility {self.relative_infeasibility:.1e}, "
            f"complementarity {self.complementarity / self.scale:.1e}"
        )


@dataclass(frozen=True)
class Course:
    """What a verdict needs to know: the scaled objective where a solve began and ended, and what stopped it.

    Attributes
    ----------
    start, end : float
    feasible_start : bool
        Whether the start kept the constraints, without which its objective says nothing.
    words : str
        The solver's own status.
    out_of_iterations, out_of_time, interrupted : bool
    """

    start: float
    end: float
    feasible_start: bool
    words: str
    out_of_iterations: bool = False
    out_of_time: bool = False
    interrupted: bool = False

    @property
    def fallen(self) -> bool:
        """Whether the objective has fallen without bound."""
        return self.end < -FALLEN * max(1.0, abs(self.start))


def judge(residuals: Residuals, course: Course, tol: float) -> str:
    """Return the status: a key of `ADVICE`. What the solver says of itself only explains why it is not "converged"."""
    words = course.words.lower()
    if course.fallen or ("diverging" in words and course.end < course.start):
        return "unbounded"
    if not np.isfinite([residuals.worst, course.end]).all():
        return "not finite"
    if residuals.worst <= tol:
        return "ascended" if course.feasible_start and _above(course, tol) else "converged"
    if course.interrupted:
        return "interrupted"
    if "user_requested" in words or "nonipopt_exception" in words:  # the latter is Ctrl-C inside ipopt
        return "time limit" if course.out_of_time else "interrupted"
    if "infeasible" in words or "no_feasible" in words:
        return "infeasible"
    if course.out_of_time or "time" in words:
        return "time limit"
    if "nan" in words or "invalid_number" in words:
        return "not finite"
    if "limit" in words or "maximum" in words or course.out_of_iterations:
        return "iteration limit"
    return "stopped" if residuals.relative_infeasibility <= FAR else "infeasible"


def _tightened(lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = np.broadcast_arrays(np.asarray(lower, dtype=float), np.asarray(upper, dtype=float))
    margins = [np.where(np.isfinite(b), LOOSENED * np.fmax(1.0, abs(b)), 0.0) for b in (lower, upper)]
    inner = [lower + margins[0], upper - margins[1]]
    apart = inner[0] < inner[1]
    return np.where(apart, inner[0], lower), np.where(apart, inner[1], upper)


def _above(course: Course, tol: float) -> bool:
    """Whether the end lies above the start by more than rounding and the tolerance explain."""
    return course.end > course.start + max(tol, 1e-12) * max(1.0, abs(course.start))


def largest(values: np.ndarray) -> float:
    """Return the largest entry, at least 0; NaN where one is."""
    return float(max(values.max(initial=0.0), 0.0)) + 0.0 if not np.isnan(values).any() else np.nan
