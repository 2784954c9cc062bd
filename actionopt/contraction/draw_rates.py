"""The picture of a certificate: rates of the modules, composed, and of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from actionopt import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 4  # modules up to which each one has a line of its own


class Rates(Protocol):
    """What is drawn of a certificate: rates at times, of modules `(K, M)`, composed and of the whole `(K,)`."""

    @property
    def times(self) -> np.ndarray: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def rates(self) -> np.ndarray: ...
    @property
    def composed(self) -> np.ndarray: ...
    @property
    def whole(self) -> np.ndarray: ...
    @property
    def metric(self) -> str: ...


def draw_rates(certificate: Rates, ax: Axes | None = None) -> Axes:
    """Draw the rates at the nodes into `ax`, or a new figure; below zero, shaded, flows may part."""
    ax = figures.axes(ax)
    times = certificate.times
    if len(certificate.labels) <= MANY:
        for index, label in enumerate(certificate.labels):
            color = figures.COLORS[2 + index]
            ax.plot(times, certificate.rates[:, index], color=color, lw=1.2, label=label.strip())
    else:
        low, high = certificate.rates.min(axis=1), certificate.rates.max(axis=1)
        ax.fill_between(times, low, high, color=figures.GREY, alpha=0.4, lw=0, label="modules, least to largest")
    ax.plot(times, certificate.whole, color=figures.COLORS[0], lw=2.0, label="whole")
    ax.plot(times, certificate.composed, "--", color=figures.COLORS[1], lw=2.0, label="composed")
    shade_parting(ax)
    ax.set(xlabel="time", ylabel=f"rate in the {certificate.metric} metric")
    ax.legend(fontsize=8)
    return ax


def shade_parting(ax: Axes) -> None:
    """Shade what lies below zero, and say what it means."""
    low, high = ax.get_ylim()
    ax.axhline(0.0, color=figures.GREY, lw=0.8, zorder=1)
    if low < 0.0:
        ax.axhspan(low, min(high, 0.0), color=figures.GREY, alpha=0.13, lw=0, zorder=0)
        ax.annotate(
            "may part", (0.99, low), (0, 4), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right", fontsize=8, color=figures.GREY,
        )  # fmt: skip
        ax.set_ylim(low, high)
