"""What training and proximal steps return."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.constrained.history import History
from actionopt.constrained.result_file import read_solution, write_solution
from actionopt.export import Columns, Exported, Variables, by_entry, features, is_csv, write_csv
from actionopt.starts import Starts
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Solution(Exported):
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
        Largest entry of |gradient| at the weights, by backpropagation: of E, plus the metric's term for a step. It
        does not vanish where bounds or constraints are active.
    success : bool
        Whether the status is "converged".
    status, message : str
        How it ended and what to do about it; docs/constrained.md lists them.
    states : list of arrays (B, d_k)
        The solver's own states of the nodes that run a module; those that the weights lead to where they were
        eliminated.
    bounds_multipliers : array (n,)
        nu of the bounds on the weights in the Lagrangian `E + sum lam^T (f - z) + mu^T c + nu^T w`: <= 0 at a lower
        bound, >= 0 at an upper one, 0 inside.
    constraint_multipliers : list of arrays
        mu of the constraints, each in the shape of its values, of the same signs; of either sign at an equality.
    adjoint_error : float
        Largest |multiplier - adjoint| over the largest |adjoint|, by backpropagation at the solver's own states with
        the constraints' multipliers as sources; 0 where the multipliers come from there.
    lowest_eigenvalue : float or None
        Of the Hessian of E at the weights, by Lanczos; None where it was not asked for (`second_order=True`).
    is_minimum : bool or None
        Whether the curvature is positive, clear of its error; None where that cannot be told.
    history : History or None
        Energy and gradient norm after every iteration, with its `plot`, where the solver keeps one.
    starts : Starts or None
        Where there were many starts: the distinct minima, and the starts that failed.
    stats : dict
        solver, formulation, iterations, build_time and solve_time in seconds, the residuals of the first-order
        conditions (stationarity, infeasibility, complementarity), `scale`, the same relative to it (`scaled_...`), and
        `relative_residual`: the largest entry of their residual in the weights, each over the size of its own terms.

    Examples
    --------
    >>> found = ao.train(problem, w)
    >>> found.status, len(found.multipliers)
    ('converged', 2)
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
    states: list[np.ndarray] = field(default_factory=list, repr=False)
    bounds_multipliers: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    constraint_multipliers: list[np.ndarray] = field(default_factory=list, repr=False)
    adjoint_error: float = 0.0
    starts: Starts[Solution] | None = field(default=None, repr=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.weights, dtype=dtype)

    def save(self, path: str | Path) -> Path:
        """Write everything to a `.npz` file, or the table to a `.csv` file; whole or not at all.

        Raises
        ------
        InputError
            If the name ends in neither or the file cannot be written.
        """
        return write_csv(self, path) if is_csv(path) else write_solution(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Solution:
        """Read what `save` wrote to a `.npz` file.

        Raises
        ------
        InputError
            If the file is missing, truncated, of another kind, or was changed after it was written.
        """
        return cls(**read_solution(path))

    def _columns(self) -> Columns:
        return by_entry(state=self.states, multiplier=self.multipliers)

    def _variables(self) -> Variables:
        found: Variables = {"weights": (("weight",), self.weights)}
        if self.bounds_multipliers.size:
            found["bounds_multipliers"] = (("weight",), self.bounds_multipliers)
        return found | features("state", self.states) | features("multiplier", self.multipliers)

    def _facts(self) -> dict[str, Any]:
        names = ("energy", "gradient_norm", "adjoint_error", "lowest_eigenvalue", "is_minimum")
        return {name: getattr(self, name) for name in (*names, "success", "status", "message")}

    def table(self) -> str:
        """Return the figures as aligned text."""
        return text_table(_HEADERS, [self._row()])

    def plot(self, ax: Axes | None = None, *, component: int | None = None) -> Axes:
        """Draw the multipliers, node by node.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure where None.
        component : int, optional
            A feature: its signed multipliers along the nodes, as costates are read, with the band of 5 % to 95 % of
            the samples where there are several. Where None the largest |multiplier| and the root mean square, on a log
            axis.

        Raises
        ------
        InputError
            If no node has that many features.
        """
        from actionopt.constrained.draw_adjoints import draw_by_module, draw_component

        if component is not None:
            title = f"{self.stats['solver']}: energy {self.energy:.6g}"
            return draw_component(ax, self.multipliers, component, title)
        curves = {
            "largest |multiplier|": [float(abs(array).max(initial=0.0)) for array in self.multipliers],
            "root mean square": [
                float(np.linalg.norm(array)) / np.sqrt(max(array.size, 1)) for array in self.multipliers
            ],
        }
        return draw_by_module(ax, curves, f"{self.stats['solver']}: energy {self.energy:.6g}")

    def __repr__(self) -> str:
        return (
            f"Solution({self.status}: energy {self.energy:.6g}, |gradient| {self.gradient_norm:.1e}, "
            f"{len(self.weights)} weights, {self.stats.get('solver')})"
        )

    def _repr_html_(self) -> str:
        return html_table(_HEADERS, [self._row()], self.message)

    def _row(self) -> list[Any]:
        stats = self.stats
        times = [stats["build_time"], stats["solve_time"]]
        return [stats["solver"], self.status, stats["iterations"], self.energy, self.gradient_norm, *times]


_HEADERS = ("solver", "status", "iterations", "energy", "|gradient|", "build s", "solve s")
