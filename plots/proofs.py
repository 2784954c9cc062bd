"""What is proved of a problem: the ball around its minimum, and a tube or a bound on stability beside it.

Left: the radius up to which contraction is proved, and from which a point without it was found and checked; between the
two nothing was decided. Right: the flow of the mass from the start in a proved tube; or, with --replacements k, how
far the limit moves when one of the first samples is exchanged for one of the last k, those exchanges that should move
it most, against the proved bound of all.

    python plots/proofs.py problems/double_well.py --start 0.1 --tube 0.01 --out out/proofs.png
    python plots/proofs.py problems/linear_regression.py --set weight_decay=0.1 --replacements 4 --out out/stability.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import load_modular, plot_command
from actionopt.cli.points import starting_point
from actionopt.contraction.influence import influential_exchanges
from actionopt.contraction.proof.draw import draw_exchanges, draw_radii, draw_tube
from actionopt.contraction.proof.refute import refuted_beyond

MOST = 60  # exchanges measured, those that move the limit most to first order


@plot_command
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--seed", default=0, show_default=True, help="Of the initial weights.")
@click.option("--tube", default=0.0, show_default=True, help="Radius of the tube at the start.")
@click.option("--horizon", default=8.0, show_default=True, help="Length of time of the tube.")
@click.option("--steps", default=80, show_default=True, help="Number of equal steps of the tube.")
@click.option("--replacements", default=0, show_default=True, help="Show stability: how many last samples replace.")
def main(path: Path, settings: dict[str, Any], dark: bool, start: str | None, seed: int, **options: Any) -> Any:
    """Draw what is proved of a problem."""
    problem = load_modular(path, settings)
    return draw(problem, starting_point(path, problem, start, seed), dark=dark, **options)


def draw(
    problem: ao.Problem,
    start: np.ndarray,
    *,
    tube: float = 0.0,
    horizon: float = 8.0,
    steps: int = 80,
    replacements: int = 0,
    dark: bool = False,
) -> Any:
    """Draw the ball around the minimum near a start, beside a tube or the stability of the limits."""
    fig, (left, right) = figures.figure(1, 2, height=3.2, dark=dark)
    centre = ao.train(problem, start, solver="newton", throw=False).weights
    proof = ao.prove_contraction(problem, centre, seconds=20.0)
    refuted = refuted_beyond(problem, centre, proof.radius) if proof.proved else None
    draw_radii(left, [""], [float(proof.radius)], [refuted])
    if replacements:
        _stability(right, problem, replacements)
        return fig
    path = ao.flow(problem, start, horizon=horizon, steps=steps, metric="euclidean", method="Radau")
    around = ao.prove_basin(problem, path, tube)
    draw_tube(right, path.times, path.weights, around.radii, problem.mass)
    right.set_title(f"tube {around.status}: {right.get_title()}", fontsize=9.0)
    return fig


def _stability(ax: Any, problem: ao.Problem, count: int) -> None:
    """Draw how far exchanges moved the limit, those that should move it most, and the bound on all of them."""
    kept = problem.samples - count
    base = problem.take(np.arange(kept))
    centre = _limit(base)
    targets = np.asarray(problem.targets)
    proof = ao.prove_stability(base, centre, replacements=(problem.inputs[kept:], targets[kept:]), quantity="limit")
    moved = []
    for out, into in influential_exchanges(problem, kept, centre, "limit", MOST):
        rows = np.arange(kept)
        rows[out] = into
        moved.append(float(np.linalg.norm(_limit(problem.take(rows)) - centre)))
    draw_exchanges(ax, moved, proof.bound, "distance of the limits")


def _limit(problem: ao.Problem) -> np.ndarray:
    return ao.train(problem, np.zeros(problem.size), solver="newton", throw=False).weights


if __name__ == "__main__":
    main()
