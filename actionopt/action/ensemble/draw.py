"""Many runs as a figure: the median of their energies over time, with the spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from actionopt import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD = (0.1, 0.9)  # quantiles between which the band lies
FEW = 10  # runs that are drawn as lines, too


class Runs(Protocol):
    """What is drawn of many runs: times `(N+1,)` and energies `(S, N+1)`."""

    @property
    def times(self) -> np.ndarray: ...
    @property
    def energy(self) -> np.ndarray | None: ...


def draw_medians(ensemble: Runs, ax: Axes | None = None) -> Axes:
    """Draw the median of the energies with the middle 80 %, and few runs one by one."""
    ax = figures.axes(ax)
    energy = ensemble.energy
    assert energy is not None
    shown = ~np.isnan(energy).all(axis=0)
    times, energy = ensemble.times[shown], energy[:, shown]
    low, high = np.nanquantile(energy, SPREAD, axis=0)
    if len(energy) <= FEW:
        ax.plot(times, energy.T, color=figures.GREY, lw=0.6, zorder=1)
    ax.fill_between(times, low, high, color=figures.COLORS[0], alpha=0.2, lw=0, label="middle 80 %")
    there = int((~np.isnan(energy[:, -1])).sum())
    told = f"median of {len(energy)} runs" + (f", {there} to the end" if there < len(energy) else "")
    ax.plot(times, np.nanmedian(energy, axis=0), color=figures.COLORS[0], label=told)
    if np.nanmin(energy) > 0.0 and np.nanmax(energy) > 100.0 * np.nanmin(energy):
        ax.set_yscale("log")
    ax.set(xlabel="time", ylabel="energy")
    ax.legend()
    return ax
