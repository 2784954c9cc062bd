"""Multipliers of the layer equations against the adjoints of backpropagation, a column a module.

Above: every sample and feature is a point, which lies on the diagonal. Below: how far from it, on a log axis. Both
are divided by the largest adjoint of the module, so that the dashed line, the machine precision, is the same for all.

    python plots/adjoints.py problems/digits.py --set samples=1797 --out out/adjoints.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import actionopt as ao
from actionopt.cli.common import load_modular, plot_command
from actionopt.constrained.draw_adjoints import draw_adjoints


@plot_command
@click.option("--solver", default="ipopt", show_default=True, help="The NLP solver whose multipliers are shown.")
@click.option("--seed", default=0, show_default=True, help="Of the weights at which they are compared.")
def main(path: Path, settings: dict[str, Any], dark: bool, solver: str, seed: int) -> Any:
    """Draw the multipliers of the layer equations against the adjoints of backpropagation."""
    problem = load_modular(path, settings)
    check = ao.check_adjoints(problem, problem.initial_weights(seed), solver=solver)
    click.echo(f"{check.table()}\n{check.message}", err=True)
    return draw_adjoints(problem.name, problem.labels, check.multipliers, check.adjoints, dark=dark)


if __name__ == "__main__":
    main()
