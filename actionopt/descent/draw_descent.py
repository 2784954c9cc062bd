"""The picture of a descent: energy, validation and step sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actionopt import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from actionopt.descent.result import Descent


def draw_descent(descent: Descent, *, dark: bool = False) -> Figure:
    """Return the figure: what the epochs ended at above, the size of every step below."""
    fig, (top, bottom) = figures.figure(2, 1, height=4.6, dark=dark, height_ratios=(3, 2))
    epochs = np.arange(1, descent.epochs + 1)
    lines = [("energy", descent.energy, "o"), ("validation", descent.validation, "s")]
    for (label, values, marker), color in zip(lines, figures.COLORS, strict=False):
        if len(values):
            top.plot(epochs[: len(values)], values, marker=marker, markersize=3, color=color, label=label)
    drawn = [values for _, values, _ in lines if len(values)]
    if drawn and all((values > 0).all() for values in drawn):
        top.set_yscale("log")
    top.set_xlabel("epoch")
    if drawn:
        top.legend()
    bottom.plot(np.arange(1, descent.steps + 1), descent.step_sizes, ".", markersize=3, color=figures.COLORS[2])
    bottom.set_xlabel("step")
    bottom.set_ylabel("step size")
    return fig
