"""Measured stability against the number of samples, with the orders 1/n and 1/sqrt(n) and the bound where one holds.

Left: the largest change of a sample's loss when one training sample is replaced. Right: the distance of the weights.
Grey points are single replacements, the line their mean. The orders are lines through the first mean: only their
slopes mean something, as the constants of the paper's order are not known.

    python plots/stability.py problems/digits.py --set samples=1797 --set hidden=8 --sizes 100,200,400,800 --jobs 2 \
        --horizon 5 --steps 50 --method rk4 --out out/stability.png
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import load_modular, plot_command


@plot_command
@click.option("--sizes", default="25,50,100", show_default=True, help="Numbers of training samples.")
@click.option("--replacements", default=4, show_default=True, help="Samples replaced in each training set.")
@click.option("--shuffles", default=3, show_default=True, help="Training sets of each size.")
@click.option("--horizon", default=5.0, show_default=True, help="Length of time to train for.")
@click.option("--steps", default=50, show_default=True, help="Number of equal steps.")
@click.option("--metric", default="layerwise", show_default=True, help="Also joint, euclidean (the mass alone).")
@click.option("--method", default="implicit_midpoint", show_default=True, help="Of the flow; also rk4, ...")
@click.option("--seed", default=0, show_default=True, help="Of the start, the training sets and the replacements.")
@click.option("--jobs", default=1, show_default=True, help="Processes that train at the same time.")
def main(path: Path, settings: dict[str, Any], dark: bool, sizes: str, jobs: int, **options: Any) -> Any:
    """Draw what replacing one sample changes, against the number of samples."""
    load_modular(path, settings)
    source = partial(ao.load_problem, path, **settings)
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as executor:
        measured = ao.measure_stability(source, sizes=_numbers(sizes), executor=executor, **options)
    click.echo(f"{measured.table()}\n{measured.message}", err=True)
    return draw(source().name, measured, dark)


def draw(name: str, measured: ao.Stability, dark: bool = False) -> Any:
    """Draw a measurement of stability: changes of the loss and of the weights."""
    fig, (left, right) = figures.figure(1, 2, height=3.8, dark=dark)
    _draw(left, measured.sizes, measured.loss_changes, measured.bounds)
    _draw(right, measured.sizes, measured.distances, None)
    left.set_ylabel("largest change of a sample's loss")
    right.set_ylabel("distance of the weights")
    several = len(measured.sizes) > 1
    left.set_title(f"{name}, {measured.metric} metric" + (f": slope {measured.loss_slope:.2f}" if several else ""))
    right.set_title(f"slope {measured.slope:.2f}" if several else "")
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8.0, frameon=False)
    return fig


def _draw(ax: Any, sizes: np.ndarray, changes: np.ndarray, bounds: np.ndarray | None) -> None:
    mean = changes.mean(axis=1)
    each = np.repeat(sizes, changes.shape[1])
    ax.loglog(each, changes.ravel(), ".", color=figures.GREY, alpha=0.5, label="one replacement")
    ax.loglog(sizes, mean[0] * sizes[0] / sizes, "--", color=figures.COLORS[2], label="order $1/n$")
    slower = mean[0] * np.sqrt(sizes[0] / sizes)
    ax.loglog(sizes, slower, "-.", color=figures.COLORS[3], label=r"order $1/\sqrt{n}$ (the paper's)")
    if bounds is not None and np.isfinite(bounds).any():
        ax.loglog(sizes, bounds, "s-", ms=3.5, lw=1.0, color=figures.COLORS[1], label="bound (ours)")
    ax.loglog(sizes, mean, "o-", ms=5.0, color=figures.COLORS[0], lw=2.0, label="mean")
    ax.set_xlabel("training samples n")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.set_xticks([], minor=True)


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ao.InputError(f"--sizes takes whole numbers with commas, such as 25,50,100; got {text!r}") from None


if __name__ == "__main__":
    main()
