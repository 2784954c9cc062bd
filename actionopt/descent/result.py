"""What a run of mini-batches gives, and what it needs to go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.descent.options import Options
from actionopt.metric.damping import Damping
from actionopt.tables import html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Descent:
    """A run of `ao.descend`, finished or not.

    Attributes
    ----------
    last : array (n,)
        Weights after the last step.
    best : array (n,)
        Weights at the end of the epoch with the least validation, or the least energy where there is none; the start
        before the first epoch ends.
    energy : array (epochs,)
        E of all samples at the end of each epoch.
    validation : array (epochs,)
        What validation gave then; empty without.
    steps : int
        Steps taken, those that were skipped included.
    step_sizes : array (steps,)
        alpha of every step, NaN where it was skipped.
    mass_factors : array (steps,)
        What the mass was multiplied by at every step.
    skipped : int
        Batches that were left out because something was not finite there.
    success : bool
    status : str
        "finished", "stopped" (by the callback), "interrupted" (Ctrl-C), "not finite", "failed" (the
        metric could not be inverted) or "diverged" (the energy is not finite,
        or ended a hundred times above the start).
    message : str
        What that means and what to do.
    options : Options
    direction : array (n,) or None
        x of the last step, for the momentum of the next.
    name : str
        The problem's.
    samples : int
        The problem's.
    damping : Damping
        What the next factor of the mass depends on.
    start : float
        Energy at the start.

    Examples
    --------
    >>> run = ao.descend(problem, w, batch=2, epochs=3)
    >>> run.status, run.energy.shape
    ('finished', (3,))
    """

    last: np.ndarray
    best: np.ndarray
    energy: np.ndarray
    validation: np.ndarray
    steps: int
    step_sizes: np.ndarray
    mass_factors: np.ndarray
    skipped: int
    success: bool
    status: str
    message: str
    options: Options
    direction: np.ndarray | None
    name: str
    samples: int
    damping: Damping
    start: float

    @property
    def weights(self) -> np.ndarray:
        """Weights `(n,)`: the last ones of a run that came to its end, the best ones of any other."""
        return self.last if self.status in ("finished", "stopped") else self.best

    @property
    def epochs(self) -> int:
        """Epochs that came to their end."""
        return len(self.energy)

    def plot(self, ax: Axes | None = None, *, step_sizes: bool = False) -> Axes:
        """Draw energy and validation over epochs, or the step sizes, into `ax` or a new figure."""
        from actionopt.descent.draw_descent import draw_descent

        return draw_descent(self, ax, step_sizes=step_sizes)

    def save(self, path: str | Path) -> Path:
        """Write everything to `path`, a `.npz`, whole or not at all; `ao.descend(problem, loaded)` goes on from it."""
        from actionopt.descent.file import write_descent

        return write_descent(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Descent:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If there is no such file, or it holds no descent.
        """
        from actionopt.descent.file import read_descent

        fields: dict[str, Any] = read_descent(path)
        options, damping = Options(**fields["options"]), Damping(*fields["damping"].tolist())
        return cls(**{**fields, "options": options, "damping": damping})

    def __repr__(self) -> str:
        energy = f"energy {self.energy[-1]:.4g}" if self.epochs else "no epoch yet"
        return f"Descent({self.name!r}: {self.status}, {self.epochs} epochs, {self.steps} steps, {energy})"

    def _repr_html_(self) -> str:
        last = [float(values[-1]) if len(values) else None for values in (self.energy, self.validation)]
        headers = ("problem", "status", "epochs", "steps", "energy", "validation")
        return html_table(headers, [(self.name, self.status, self.epochs, self.steps, *last)], self.message)
