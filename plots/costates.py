"""Costates with their sign, over the depth of a network or the stages of a control problem.

The lines are backpropagation; with --solver the dots are the multipliers that this solver returns; with --train the
lines are those of the optimum, with what its constraints add. Of many samples the median and the bands of the middle
50 % and 90 %; --sample and --component choose.

    python plots/costates.py problems/pendulum.py --train --out out/costates.png
    python plots/costates.py problems/spirals.py --set depth=20 --solver ipopt --out out/costates.png
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
@click.option("--component", "components", type=int, multiple=True, help="A feature; repeatable.  [default: all]")
@click.option("--sample", "samples", type=int, multiple=True, help="A sample's line; repeatable.  [default: bands]")
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--seed", default=0, show_default=True, help="Of the initial weights.")
@click.option("--train", "trained", is_flag=True, help="At the trained weights instead.")
@click.option("--solver", help="Show this solver's multipliers as dots: ipopt, fatrop, ...")
def main(
    path: Path,
    settings: dict[str, Any],
    dark: bool,
    components: tuple[int, ...],
    samples: tuple[int, ...],
    start: str | None,
    seed: int,
    trained: bool,
    solver: str | None,
    labels: tuple[str, ...] | None,
) -> Any:
    """Draw costates over depth or stages."""
    problem = load_modular(path, settings)
    if trained and solver is not None:
        raise ao.InputError("--train draws the multipliers of the solution: leave --solver out")
    w = starting_point(path, problem, start, seed)
    solution = ao.train(problem, w) if trained else None
    dots = None if solver is None else ao.check_adjoints(problem, w, solver=solver)
    fig, ax = figures.figure(width=6.4, height=3.6, dark=dark)
    ao.plot_adjoints(
        problem,
        solution or w,
        components=components or None,
        samples=samples or None,
        multipliers=dots,
        labels=labels,
        ax=ax,
    )
    ax.set_title("costates at the optimum" if trained else "costates at the start")
    return fig


if __name__ == "__main__":
    main()
