"""A saved trajectory over time: weights, energy, and how far a flow is from the true one, or what a path pays.

actionopt flow problems/xor.py --horizon 5 --out flow.npz
python plots/trajectory.py flow.npz --out out/trajectory.png
"""

from __future__ import annotations

from typing import Any

import click

import actionopt as ao
from actionopt.action.draw_trajectory import draw_trajectory
from actionopt.cli.common import figure_options
from actionopt.cli.reporting import Reporting


@click.command(cls=Reporting)
@click.argument("trajectory", metavar="FILE.npz")
@figure_options
def main(trajectory: str, dark: bool, labels: tuple[str, ...] | None) -> Any:
    """Draw a trajectory that `actionopt flow` or `actionopt action` saved."""
    return draw_trajectory(ao.Trajectory.load(trajectory), labels=labels, dark=dark)


if __name__ == "__main__":
    main()
