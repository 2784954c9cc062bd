"""Contraction along the gradient flow, and two neighbouring solutions held against it.

Left: the contraction rate at each node of the flow, of each module with the others held fixed, as composed from the
modules' rates and couplings, and of the whole; above the zero line neighbours approach each other. Right: the distance
of two solutions that start side by side, along the direction that contracts least, under its certificate.

    python plots/contraction.py problems/gene_cascade.py --set weight_decay=0.1 --out out/contraction.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import load_modular, plot_command
from actionopt.cli.points import starting_point


@plot_command
@click.option("--horizon", default=1.0, show_default=True, help="Length of time.")
@click.option("--steps", default=40, show_default=True, help="Number of equal steps, even.")
@click.option("--metric", default="layerwise", show_default=True, help="Also euclidean, the mass alone.")
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--seed", default=0, show_default=True, help="Of the initial weights.")
def main(
    path: Path,
    settings: dict[str, Any],
    dark: bool,
    horizon: float,
    steps: int,
    metric: str,
    start: str | None,
    seed: int,
) -> Any:
    """Draw contraction rates along the flow, and two solutions against their certificate."""
    problem = load_modular(path, settings)
    w0 = starting_point(path, problem, start, seed)
    trajectory = ao.flow(problem, w0, horizon=horizon, steps=steps, metric=metric)
    certificate = ao.certify(problem, trajectory, metric=metric)
    decay = ao.check_decay(problem, w0, horizon=horizon, steps=steps, metric=metric)
    return draw(problem.name, certificate, decay, dark)


def draw(name: str, certificate: ao.Certificate, decay: ao.Decay, dark: bool = False) -> Any:
    """Draw a certificate and a two-trajectory check side by side."""
    fig, (left, right) = figures.figure(1, 2, height=3.8, dark=dark)
    certificate.plot(left)
    decay.plot(right)
    for ax in (left, right):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=8.0)
    left.set_title(f"{name}: least rate {certificate.whole.min():.2g}")
    right.set_title(f"two neighbours: measured {decay.measured_rate:.2g}, certified {decay.certified_rate:.2g}")
    return fig


if __name__ == "__main__":
    main()
