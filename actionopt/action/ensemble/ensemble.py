"""Many trajectories of one system: what `flow` returns for several starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.action.trajectory import Trajectory
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 20  # runs that a table lists


class Ensemble(list[Trajectory]):
    """A list of trajectories, one a start, with what all of them say together.

    Attributes
    ----------
    times : array (N+1,)
        The nodes, of the runs that reached the last one.
    weights : array (S, N+1, n)
        At the nodes; NaN from where a run stopped.
    energy : array (S, N+1) or None
        Likewise.
    statuses : list of str
        One a run: "converged", or why it stopped.
    success : bool
        Whether all runs are a success.
    failed : list of int
        Which are not.

    Examples
    --------
    >>> starts = np.stack([problem.initial_weights(seed) for seed in range(3)])
    >>> runs = ao.flow(problem, starts, horizon=1.0, steps=10)
    >>> runs.weights.shape, runs.success
    ((3, 11, 17), True)
    """

    def __init__(self, runs: Iterable[Trajectory], times: np.ndarray) -> None:
        super().__init__(runs)
        self.times = times

    @property
    def weights(self) -> np.ndarray:
        """Weights at the nodes, `(S, N+1, n)`; NaN from where a run stopped."""
        return np.stack([self._padded(run.weights) for run in self])

    @property
    def energy(self) -> np.ndarray | None:
        """Energies at the nodes, `(S, N+1)`; NaN from where a run stopped."""
        energies = [run.energy for run in self]
        return None if any(e is None for e in energies) else np.stack([self._padded(e) for e in energies])

    @property
    def statuses(self) -> list[str]:
        """The status of each run."""
        return [run.status for run in self]

    @property
    def success(self) -> bool:
        """Whether all runs are a success."""
        return all(run.success for run in self)

    @property
    def failed(self) -> list[int]:
        """Indices of the runs that are no success."""
        return [index for index, run in enumerate(self) if not run.success]

    @property
    def best(self) -> Trajectory:
        """The run of the lowest energy at its end, of those that reached it."""
        energy = self.energy
        assert energy is not None
        return self[int(np.nanargmin(np.where(np.isnan(energy[:, -1]), np.inf, energy[:, -1])))]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the median of the energies over time with their middle 80 %, into `ax` or a new figure.

        Runs that stopped are left out from there on; the legend says how many reached the end.
        """
        from actionopt.action.ensemble.draw import draw_medians

        return draw_medians(self, ax)

    def __str__(self) -> str:
        table = text_table(("run", "energy", "distance", "status"), self._cells())
        return table if len(self) <= SHOWN else f"{table}\n... and {len(self) - SHOWN} more"

    def __repr__(self) -> str:
        told = f", {len(self.failed)} no success" if self.failed else ""
        name = f" of {self[0].name!r}" if self else ""
        return f"Ensemble({len(self)} runs{name}, {len(self.times) - 1} steps to t = {self.times[-1]:g}{told})"

    def _repr_html_(self) -> str:
        return html_table(("run", "energy", "distance", "status"), self._cells(), caption=repr(self))

    def _cells(self) -> list[tuple[Any, ...]]:
        return [
            (
                index,
                None if run.energy is None else float(run.energy[-1]),
                None if run.distance is None else float(run.distance[-1]),
                run.status,
            )
            for index, run in enumerate(self[:SHOWN])
        ]

    def _padded(self, values: Any) -> np.ndarray:
        """Fill what lives on the nodes up with NaN."""
        out = np.full((len(self.times), *np.shape(values)[1:]), np.nan)
        out[: len(values)] = values
        return out
