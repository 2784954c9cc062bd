"""Costates with their sign, over the depth of a network or the stages of a control problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.backprop import adjoints
from actionopt.constrained.solution import Solution
from actionopt.errors import InputError
from actionopt.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 3  # features up to which each has a line
BANDS = ((0.05, 0.95, 0.15), (0.25, 0.75, 0.3))  # quantiles and opacity
DOTTED = 5  # samples whose multipliers are dots, where bands are drawn


def plot_adjoints(
    problem: Problem,
    w: Any = None,
    *,
    components: Sequence[int] | None = None,
    samples: Sequence[int] | None = None,
    multipliers: Any = None,
    times: Any = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the adjoints `lam_k = dE/dz_k`, the costates, with their sign along the nodes that run a module.

    Parameters
    ----------
    problem : Problem
        A network, or a control problem, whose nodes are its stages.
    w : array (n,) or Solution, optional
        Weights; `problem.initial_weights()` where None. Of a solution its multipliers are drawn: at an optimum under
        constraints the costates contain what these add, which backpropagation of the energy alone does not know.
    components : sequence of int, optional
        Features, a colour each, at the nodes that have them. Where None all of them; of states of more than three
        features all together, as bands.
    samples : sequence of int, optional
        A line for each of these; where None the median of the samples with bands of the middle 50 % and 90 %.
    multipliers : AdjointCheck, Solution, or arrays (B, d_k), optional
        Drawn as dots: where they are adjoints, they lie on the lines.
    times : array (L,), optional
        Where the nodes stand on the axis; 1 .. L where None.
    labels : sequence of str, optional
        Names of the components.
    ax : matplotlib Axes, optional
        Where to draw; a new figure where None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        If a component or a sample does not exist.

    Examples
    --------
    >>> ax = ao.plot_adjoints(problem, w, multipliers=ao.check_adjoints(problem, w))
    >>> ax.get_ylabel()
    'adjoint $\\\\lambda = dE/dz$'
    """
    of_solution = isinstance(w, Solution)
    if of_solution:
        found = list(w.multipliers)
    else:
        found = adjoints(problem, problem.initial_weights() if w is None else w).adjoints
    # a stage's cost and constraint read its state and control: copies, whose adjoints are no costates
    stages = [k for k, place in enumerate(problem.network.placed) if not getattr(place.module, "is_reading", False)]
    found = found if len(found) == len(stages) else [found[k] for k in stages]
    dots = None if multipliers is None else list(getattr(multipliers, "multipliers", multipliers))
    if dots is not None and len(dots) == len(problem.network.placed):
        dots = [dots[k] for k in stages]
    widest, count = max(array.shape[1] for array in found), found[0].shape[0]
    places = np.arange(1, len(found) + 1) if times is None else np.asarray(times, dtype=float)
    if places.shape != (len(found),):
        raise InputError(f"times must be one number a node, ({len(found)},), got shape {places.shape}")
    if dots is not None and [d.shape for d in dots] != [a.shape for a in found]:
        raise InputError("multipliers must have the shapes of the adjoints: those of the same problem")
    _check("components", components, widest)
    _check("samples", samples, count)
    from matplotlib.ticker import MaxNLocator

    together = components is None and widest > FEW
    ax = figures.axes(ax)
    ax.axhline(0.0, color=figures.GREY, lw=0.8, zorder=1)
    shown = range(widest) if components is None else components
    lines = [None] if together else list(shown)
    for place, (component, color) in enumerate(zip(lines, figures.COLORS * len(lines), strict=False)):
        at, curves = _curves(places, found, component)
        name = "all features" if component is None else labels[place] if labels else f"component {component}"
        _draw(ax, at, curves, samples, color, name if len(lines) > 1 or count > 1 else None)
        if dots is not None:
            _dots(ax, *_curves(places, dots, component), samples, color, place == 0)
    ax.set(xlabel="node, 1 at the input" if times is None else "time", ylabel=_name(of_solution))
    if times is None:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=8)
    return ax


def _name(of_solution: bool) -> str:
    return r"costate $\lambda$" if of_solution else r"adjoint $\lambda = dE/dz$"


def _check(name: str, chosen: Sequence[int] | None, count: int) -> None:
    for one in () if chosen is None else chosen:
        if isinstance(one, bool) or not isinstance(one, (int, np.integer)) or not 0 <= one < count:
            raise InputError(f"{name} must be whole numbers 0 .. {count - 1}, got {one!r}")


def _curves(places: np.ndarray, arrays: Sequence[np.ndarray], component: int | None) -> tuple[np.ndarray, list[Any]]:
    """Return where the nodes with this component stand, and its values there: (B,) each, or all features (B, d)."""
    if component is None:
        return places, list(arrays)
    pairs = [(x, array[:, component]) for x, array in zip(places, arrays, strict=True) if array.shape[1] > component]
    return np.array([x for x, _ in pairs]), [values for _, values in pairs]


def _draw(
    ax: Axes, at: np.ndarray, curves: list[Any], samples: Sequence[int] | None, color: str, name: str | None
) -> None:  # fmt: skip
    if samples is None and curves[0].size > 1:
        for low, high, alpha in BANDS:
            edges = np.array([np.quantile(values, [low, high]) for values in curves])
            ax.fill_between(at, *edges.T, color=color, alpha=alpha, lw=0)
        middle = [float(np.median(values)) for values in curves]
        ax.plot(at, middle, color=color, lw=1.5, label=f"{name}: median, 50 %, 90 %")
        return
    for place, b in enumerate([0] if samples is None else samples):
        values = np.array([np.ravel(array[b]) for array in curves if array[b].size == np.ravel(curves[0][b]).size])
        if len(values) == len(at):
            ax.plot(at, values, color=color, lw=1.2, label=name if place == 0 else None)
        else:
            for x, array in zip(at, curves, strict=True):
                ax.plot(np.full(np.size(array[b]), x), np.ravel(array[b]), "_", color=color)


def _dots(
    ax: Axes, at: np.ndarray, curves: list[Any], samples: Sequence[int] | None, color: str, first: bool
) -> None:  # fmt: skip
    """Draw multipliers: those of the samples shown, or of some spread over the band."""
    for place, (x, array) in enumerate(zip(at, curves, strict=True)):
        values = np.sort(np.ravel(array)) if samples is None else np.ravel(np.asarray(array)[list(samples)])
        if samples is None and len(values) > DOTTED:
            values = values[(np.linspace(0.05, 0.95, DOTTED) * (len(values) - 1)).round().astype(int)]
        ax.plot(
            np.full(len(values), x), values, "o", ms=3.2, color=color, markeredgecolor=ax.get_facecolor(), mew=0.5,
            label="multipliers" if first and place == 0 else None, zorder=3,
        )  # fmt: skip
