"""Adjoint norm through depth: do the multipliers of the layer equations fade or grow on their way to the input?

Each curve is the median over random starting weights of `sqrt(B) |lam_a|`, the adjoint norm of a sample in the loss
per sample; the band holds all starts. `--compare` draws one curve for each setting given.

    python plots/depth.py problems/spirals.py --set depth=40 --compare residual=True --compare residual=False \
        --out out/depth.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import load_modular, parse_settings, plot_command


@plot_command
@click.option("--compare", multiple=True, metavar="KEY=VALUE", help="A curve for this setting; repeat for more curves.")
@click.option("--starts", default=20, show_default=True, type=click.IntRange(1), help="Number of starting weights.")
def main(path: Path, settings: dict[str, Any], dark: bool, compare: tuple[str, ...], starts: int) -> Any:
    """Draw the norm of the adjoints through the depth of a system."""
    curves = {}
    for setting in compare or ("",):
        problem = load_modular(path, {**settings, **(parse_settings((setting,)) if setting else {})})
        curves[setting or problem.name] = adjoint_norms(problem, starts)
    return draw(problem.name, curves, dark=dark)


def adjoint_norms(problem: ao.Problem, starts: int) -> np.ndarray:
    """Return the norms `(starts, L)`, module 1 first: root of the mean over samples of `|B lam_{a,b}|^2`."""
    weights = np.stack([problem.initial_weights(seed) for seed in range(starts)])
    adjoints = ao.adjoints(problem, weights).adjoints
    # lam carries the factor 1/B of the mean loss: B lam is the adjoint of a sample's own loss
    norms = [np.sqrt(problem.samples * (adjoint**2).sum(axis=(-2, -1))) for adjoint in adjoints]
    return np.stack(norms, axis=-1)


def draw(name: str, curves: dict[str, np.ndarray], *, dark: bool = False) -> Any:
    """Return the figure for norms `(starts, L)` by the name of their curve."""
    fig, ax = figures.figure(dark=dark, width=6.0, height=3.6)
    for (label, norms), color in zip(curves.items(), figures.COLORS, strict=False):
        modules = np.arange(1, norms.shape[1] + 1)
        positive = np.where(norms > 0, norms, np.nan)
        ax.fill_between(modules, positive.min(axis=0), positive.max(axis=0), color=color, alpha=0.18, linewidth=0)
        ax.plot(modules, np.median(norms, axis=0), color=color, marker="o", markersize=3, label=label)
    starts = len(next(iter(curves.values())))
    ax.set(yscale="log", xlabel="module (1 at the input)", ylabel="adjoint norm of a sample")
    ax.set_title(f"{name}: median and range over {starts} random starts")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if len(curves) > 1:
        ax.legend(loc="best")
    return fig


if __name__ == "__main__":
    main()
