"""What training and proximal steps return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.constrained.history import History
from actionopt.constrained.training import Trained
from actionopt.problem import Problem
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Solution:
    """Weights that a solver ended at, with their certificate. `numpy.asarray` gives the weights.

    Attributes
    ----------
    weights : array (n,)
    energy : float
        E at the weights.
    multipliers : list of arrays (B, d_a)
        Of the layer equations `f_a - z_a = 0` in the Lagrangian `E + sum lam^T (f - z)`, one array a module: the
        adjoints. Where the states were eliminated they come from backpropagation.
    gradient_norm : float
        Largest entry of |gradient| at the weights, by backpropagation: of E, plus the metric's term for a step.
    success : bool
        Whether the status is "converged".
    status, message : str
        How it ended and what to do about it; see `NlpSolution`.
    lowest_eigenvalue : float or None
        Of the Hessian of E at the weights, by Lanczos; None where it was not asked for (`second_order=True`).
    is_minimum : bool or None
        Whether it is positive, clear of its error; None where that cannot be told or was not asked for.
    history : History or None
        Energy and gradient norm after every iteration, with its `plot`, where the solver keeps one.
    stats : dict
        solver, formulation, iterations, build_time and solve_time in seconds, and the residuals of the first-order
        conditions: stationarity, infeasibility, complementarity.
    """

    weights: np.ndarray = field(repr=False)
    energy: float
    multipliers: list[np.ndarray] = field(repr=False)
    gradient_norm: float
    success: bool
    status: str
    message: str
    stats: dict[str, Any] = field(repr=False)
    lowest_eigenvalue: float | None = None
    is_minimum: bool | None = None
    history: History | None = field(default=None, repr=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.weights, dtype=dtype)

    def table(self) -> str:
        """Return the figures as aligned text."""
        return text_table(_HEADERS, [self._row()])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the multipliers module by module: the largest and the root mean square, on a log axis.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure where None.
        """
        from actionopt.constrained.draw_adjoints import draw_by_module

        curves = {
            "largest |multiplier|": [float(abs(array).max(initial=0.0)) for array in self.multipliers],
            "root mean square": [
                float(np.linalg.norm(array)) / np.sqrt(max(array.size, 1)) for array in self.multipliers
            ],
        }
        return draw_by_module(ax, curves, f"{self.stats['solver']}: energy {self.energy:.6g}")

    def _repr_html_(self) -> str:
        return html_table(_HEADERS, [self._row()], self.message)

    def _row(self) -> list[Any]:
        stats = self.stats
        times = [stats["build_time"], stats["solve_time"]]
        return [stats["solver"], self.status, stats["iterations"], self.energy, self.gradient_norm, *times]


_HEADERS = ("solver", "status", "iterations", "energy", "|gradient|", "build s", "solve s")


def solution_at(problem: Problem, trained: Trained, formulation: str, metric_term: Any = 0.0) -> Solution:
    """Certify where a transcription ended; `metric_term (n,)` joins the gradient of E."""
    weights, nlp = trained.weights, trained.nlp
    usable = bool(np.isfinite(weights).all())
    with np.errstate(all="ignore"):
        gradient = problem.gradient(weights) + metric_term if usable else np.array([np.nan])
        energy = problem.energy(weights) if usable else np.nan
    return Solution(
        weights=weights,
        energy=energy,
        multipliers=trained.multipliers,
        gradient_norm=float(abs(gradient).max(initial=0.0)),
        success=nlp.success,
        status=nlp.status,
        message=nlp.message,
        stats={**nlp.stats, "formulation": formulation},
    )
