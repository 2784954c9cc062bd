"""Seconds of a metric step against the number of weights n and of rows r, on log axes, with the exponents.

`--weights` names an option of the problem's build() that changes n alone, with its values, and `--rows` one that
changes r = m B alone. Every point is the fastest of several steps, gradient included, on one BLAS thread.

    python plots/scaling.py problems/digits.py --set mass=0.01 --weights hidden=16,32,64,128,256,512 \
        --rows samples=16,32,64,128,256 --out out/scaling.png
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

# before NumPy loads: with two pools of threads on a shared machine, times say little
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import load_modular, parse_settings, plot_command

SOLVERS = ("dual", "cg", "auto")
DECADE = 10.0
Points = dict[str, list[tuple[float, float]]]


@plot_command
@click.option("--weights", required=True, metavar="KEY=A,B,...", help="Option and values that change n.")
@click.option("--rows", required=True, metavar="KEY=A,B,...", help="Option and values that change r.")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1), help="Runs a point.")
def main(path: Path, settings: dict[str, Any], dark: bool, weights: str, rows: str, repeats: int) -> Any:
    """Draw the time of a step against weights and rows."""
    series = {
        "weights n": time_series(path, settings, weights, repeats, lambda problem: problem.size),
        "rows r": time_series(path, settings, rows, repeats, rows_of),
    }
    return draw(load_modular(path, settings).name, series, dark=dark)


def time_series(
    path: Path, settings: dict[str, Any], varied: str, repeats: int, size: Callable[[ao.Problem], int]
) -> Points:
    """Time the problem for every value of one option: pairs of size and seconds for each solver."""
    ((key, values),) = parse_settings((varied,)).items()
    if not isinstance(values, tuple) or len(values) < 2:
        raise ao.InputError(f"give at least two values with commas between, such as {key}=16,32; got {varied!r}")
    points: Points = {solve: [] for solve in SOLVERS}
    for value in values:
        problem = load_modular(path, {**settings, key: value})
        for solve in SOLVERS:
            points[solve].append((size(problem), seconds(problem, solve, repeats)))
    return points


def rows_of(problem: ao.Problem) -> int:
    """Return the number of rows r of the problem's metric."""
    return ao.LayerMetric(problem, problem.initial_weights(0)).blocks[-1].rank


def seconds(problem: ao.Problem, solve: str, repeats: int) -> float:
    """Return the fastest of several steps."""
    w, times = problem.initial_weights(0), []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        ao.step(problem, w, 1.0, solve=solve)
        times.append(time.perf_counter() - began)
    return min(times)


def exponent(pairs: list[tuple[float, float]]) -> float:
    """Return the slope of seconds against size on log axes."""
    sizes, times = np.log(pairs).T
    return float(np.polyfit(sizes, times, 1)[0])


def draw(name: str, series: dict[str, Points], *, dark: bool = False) -> Any:
    """Return the figure: an axes for each quantity that grows, a curve for each solver."""
    from matplotlib.ticker import LogLocator, NullFormatter

    fig, axes = figures.figure(1, len(series), dark=dark, sharey=True)
    for ax, (what, points) in zip(axes, series.items(), strict=True):
        for (solve, pairs), color, marker in zip(points.items(), figures.COLORS, figures.MARKERS, strict=False):
            sizes, times = zip(*pairs, strict=True)
            # "auto" lies on one of the others: drawn last, dashed and hollow, so that both are seen
            style: dict[str, Any] = {"linestyle": "--", "markerfacecolor": "none"} if solve == "auto" else {}
            wide = max(sizes) >= DECADE * min(sizes)  # over less, an exponent says little
            label = f"{solve}, exponent {exponent(pairs):.2f}" if wide else solve
            ax.loglog(sizes, times, color=color, marker=marker, markersize=5, label=label, **style)
        ax.set(xlabel=f"number of {what}")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(loc="best")
    axes[0].set(ylabel="seconds a step")
    fig.suptitle(f"{name}: growth of a layerwise step", fontsize=10.5)
    return fig


if __name__ == "__main__":
    main()
