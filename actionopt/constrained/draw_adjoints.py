"""The picture of a check: multipliers of the layer equations against the adjoints of backpropagation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 5
PRECISION = float(np.finfo(float).eps)
EXACT = 1e-19  # where points with no difference, or a smaller one, are drawn; labelled 0


def draw_adjoints(
    name: str,
    labels: Sequence[str],
    multipliers: Sequence[np.ndarray],
    adjoints: Sequence[np.ndarray],
    *,
    dark: bool = False,
) -> Figure:
    """Return the figure for one array of multipliers and one of adjoints a module; deep chains are thinned out.

    The title says how many points there are and how far the farthest is off.
    """
    shown = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), MOST_COLUMNS)).round().astype(int))
    fig, axes = figures.figure(
        2, len(shown), width=2.3 * len(shown) + 1.4, height=4.6, dark=dark,
        squeeze=False, sharex=True, sharey="row", height_ratios=(3, 2),
    )  # fmt: skip
    for (top, bottom), module in zip(axes.T, shown, strict=True):
        largest = np.abs(adjoints[module]).max() or 1.0
        adjoint, multiplier = adjoints[module].ravel() / largest, multipliers[module].ravel() / largest
        _against(top, multiplier, adjoint)
        _difference(bottom, multiplier, adjoint)
        top.set_title(f"{labels[module]}\nlargest {largest:.2g}")
    axes[0, 0].set_ylabel("multiplier / largest")
    axes[1, 0].set_ylabel("difference / largest")
    axes[1, 0].annotate(
        "machine precision",
        (1, PRECISION),
        (-2, 9),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        xycoords="data",
    )
    fig.supxlabel("adjoint / largest adjoint of the module", fontsize=9.5)
    fig.suptitle(f"{name}: {_agreement(multipliers, adjoints)}", fontsize=10.5)
    return fig


def _agreement(multipliers: Sequence[np.ndarray], adjoints: Sequence[np.ndarray]) -> str:
    """Say how many multipliers there are and how far off the farthest is."""
    count = sum(array.size for array in multipliers)
    off = max(
        float(np.abs(m - a).max(initial=0.0)) / (float(np.abs(a).max(initial=0.0)) or 1.0)
        for m, a in zip(multipliers, adjoints, strict=True)
    )
    return f"{count} multipliers, " + (f"{off:.1e} off at most" if off else "equal to the last bit")


def _against(ax: Any, multiplier: np.ndarray, adjoint: np.ndarray) -> None:
    ax.axline((0, 0), slope=1, color=figures.GREY, linewidth=0.8, zorder=1)
    ax.plot(adjoint, multiplier, color=figures.COLORS[0], **_marks(len(adjoint)))
    ax.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=(-1, 0, 1), yticks=(-1, 0, 1))


def _difference(ax: Any, multiplier: np.ndarray, adjoint: np.ndarray) -> None:
    difference = np.maximum(np.abs(multiplier - adjoint), EXACT)
    ax.axhline(PRECISION, color=figures.GREY, linewidth=0.8, linestyle="--", zorder=1)
    ax.plot(adjoint, difference, color=figures.COLORS[1], **_marks(len(adjoint)))
    top = max(ax.get_ylim()[1], 10 * difference.max(), 1e-14)
    ax.set(yscale="log", ylim=(EXACT / 3, top))
    powers = np.arange(-18, np.floor(np.log10(top)) + 1, max(2, round((np.log10(top) + 18) / 4)))
    ax.set_yticks([EXACT, *10.0**powers], ["0", *(f"$10^{{{power:.0f}}}$" for power in powers)], minor=False)
    ax.minorticks_off()


def _marks(points: int) -> dict[str, Any]:
    """Small and see-through where there are many points, and drawn as an image in vector formats."""
    return {
        "marker": "o",
        "linestyle": "none",
        "markersize": float(np.clip(40 / np.sqrt(points + 1), 1.5, 5)),
        "markeredgewidth": 0,
        "alpha": float(np.clip(30 / np.sqrt(points + 1), 0.25, 0.9)),
        "rasterized": points > 2000,
    }


def draw_by_module(ax: Axes | None, curves: Mapping[str, Sequence[float]], title: str) -> Axes:
    """Draw one positive number a module for each curve, on a log axis, into the axes given or new ones."""
    from matplotlib.ticker import MaxNLocator

    ax = figures.axes(ax)
    floor = EXACT * (max(max(values, default=0.0) for values in curves.values()) or 1.0)
    for color, (label, values) in zip(figures.COLORS, curves.items(), strict=False):
        places = np.arange(1, len(values) + 1)
        ax.semilogy(places, np.maximum(values, floor), "o-", color=color, label=label, markersize=4)
    ax.set(xlabel="module", ylabel="size", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax


def draw_component(ax: Axes | None, multipliers: Sequence[np.ndarray], component: int, title: str) -> Axes:
    """Draw one feature's signed multipliers along the nodes that have it: the line of one sample, a band of several."""
    from matplotlib.ticker import MaxNLocator

    widest = max((array.shape[1] for array in multipliers), default=0)
    if isinstance(component, bool) or not isinstance(component, (int, np.integer)) or not 0 <= component < widest:
        raise InputError(f"component must be a feature of a node, 0 .. {widest - 1}, got {component!r}")
    pairs = [(k, array[:, component]) for k, array in enumerate(multipliers, 1) if array.shape[1] > component]
    places, values = [k for k, _ in pairs], np.stack([column for _, column in pairs])
    ax = figures.axes(ax)
    ax.axhline(0.0, color=figures.GREY, linewidth=0.8, zorder=1)
    if values.shape[1] > 1:
        low, high = np.quantile(values, [0.05, 0.95], axis=1)
        ax.fill_between(places, low, high, color=figures.COLORS[0], alpha=0.2, linewidth=0, label="5 % to 95 %")
        ax.plot(places, np.median(values, axis=1), color=figures.COLORS[0], label="median of the samples")
        ax.legend()
    else:
        ax.plot(places, values[:, 0], "o-", color=figures.COLORS[0], markersize=3)
    ax.set(xlabel="node", ylabel=f"multiplier, component {component}", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax
