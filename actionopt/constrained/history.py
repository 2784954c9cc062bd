"""How a training run went, iteration by iteration, and what ends it early."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.newton.point import Point, largest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LATELY = 50  # iterations over which progress is judged


@dataclass(frozen=True)
class Moment:
    """A training run after one iteration, as a callback gets it.

    Attributes
    ----------
    iteration : int
    energy : float
    gradient_norm : float
        Largest entry of |dE/dw|.
    seconds : float
        Since the run began.
    weights : array (n,)
    """

    iteration: int
    energy: float
    gradient_norm: float
    seconds: float
    weights: np.ndarray = field(repr=False)


@dataclass
class History:
    """One entry an iteration, the start included.

    Attributes
    ----------
    energy, gradient_norm, seconds : list of float
    """

    energy: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.energy)

    def add(self, moment: Moment) -> None:
        """Append a moment."""
        self.energy.append(moment.energy)
        self.gradient_norm.append(moment.gradient_norm)
        self.seconds.append(moment.seconds)

    def followed_by(self, later: History) -> History:
        """Return this history and that of a run which went on from its end."""
        offset = self.seconds[-1] if self.seconds else 0.0
        return History(
            self.energy + later.energy[1:],
            self.gradient_norm + later.gradient_norm[1:],
            self.seconds + [offset + seconds for seconds in later.seconds[1:]],
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the gradient norm, on a log axis, and what the energy still had to fall, against iterations.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure where None.
        """
        ax = figures.axes(ax)
        energy = np.array(self.energy)
        above = np.where(energy > energy.min(), energy - energy.min(), np.nan)
        ax.semilogy(self.gradient_norm, color=figures.COLORS[0], label="largest |gradient|")
        ax.semilogy(above, color=figures.COLORS[1], label="energy above the last")
        ax.set(xlabel="iteration", title=f"energy {energy[-1]:.6g} after {self.seconds[-1]:.2g} s")
        ax.legend()
        return ax


class Watcher:
    """Writes the history of a minimiser down, shows it, and ends it at a time limit or where a callback says so.

    Parameters
    ----------
    scale : float
        What the energy was divided by.
    callback : callable, optional
        Gets a `Moment` after every iteration; the run ends where it returns True.
    time_limit : float
        Seconds.
    tick : callable
        Shows a note.
    """

    def __init__(
        self,
        scale: float,
        callback: Callable[[Moment], Any] | None,
        time_limit: float,
        tick: Callable[[str], None],
    ) -> None:
        self.scale = scale
        self.callback = callback
        self.time_limit = time_limit
        self.tick = tick
        self.history = History()
        self.earlier: deque[tuple[float, np.ndarray]] = deque(maxlen=LATELY)
        self.began = time.perf_counter()
        self.last: Point | None = None

    def __call__(self, iteration: int, point: Point) -> str | None:
        if point is self.last:  # another engine goes on from where the one before stopped
            return None
        self.last = point
        seconds = time.perf_counter() - self.began
        moment = Moment(
            len(self.history), point.value * self.scale, largest(point.gradient) * self.scale, seconds, point.x
        )
        self.history.add(moment)
        self.earlier.append((moment.gradient_norm, point.x))
        self.tick(f"E = {moment.energy:.6g}, |dE| = {moment.gradient_norm:.1e}")
        if self.callback is not None and self.callback(moment) is True:
            return "stopped"
        return "time limit" if seconds > self.time_limit else None

    @property
    def drift(self) -> float | None:
        """How far the weights moved in the last 50 iterations, over their size, if the gradient did not halve.

        The gradient's are medians over the first and the second half of them.
        """
        if len(self.earlier) < LATELY:
            return None
        norms = [norm for norm, _ in self.earlier]
        if np.median(norms[LATELY // 2 :]) < 0.5 * np.median(norms[: LATELY // 2]):
            return None
        first, last = self.earlier[0][1], self.earlier[-1][1]
        return float(np.linalg.norm(last - first) / max(np.linalg.norm(last), np.finfo(float).tiny))
