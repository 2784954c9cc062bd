"""The picture of a descent: energy and validation over its epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from actionopt import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Epochs(Protocol):
    """What is drawn of a descent."""

    @property
    def steps(self) -> int: ...
    @property
    def step_sizes(self) -> np.ndarray: ...
    @property
    def epochs(self) -> int: ...
    @property
    def energy(self) -> np.ndarray: ...
    @property
    def validation(self) -> np.ndarray: ...


def draw_descent(descent: Epochs, ax: Axes | None = None, *, step_sizes: bool = False) -> Axes:
    """Draw what the epochs ended at, or the size of every step, into `ax` or a new figure."""
    ax = figures.axes(ax)
    if step_sizes:
        ax.plot(np.arange(1, descent.steps + 1), descent.step_sizes, ".", markersize=3, color=figures.COLORS[2])
        ax.set(xlabel="step", ylabel="step size")
        return ax
    epochs = np.arange(1, descent.epochs + 1)
    lines = [("energy", descent.energy, "o"), ("validation", descent.validation, "s")]
    for (label, values, marker), color in zip(lines, figures.COLORS, strict=False):
        if len(values):
            ax.plot(epochs[: len(values)], values, marker=marker, markersize=3, color=color, label=label)
    drawn = [values for _, values, _ in lines if len(values)]
    if drawn and all((values > 0).all() for values in drawn):
        ax.set_yscale("log")
    ax.set(xlabel="epoch", ylabel="energy")
    if len(drawn) > 1:
        ax.legend()
    return ax
