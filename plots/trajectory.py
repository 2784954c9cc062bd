"""Weights, energy, action density and Hamiltonian of a saved trajectory over time.

actionopt flow problems/xor.py --horizon 5 --out flow.npz
python plots/trajectory.py flow.npz --out flow.png
"""

from __future__ import annotations

import click

import actionopt as ao
from actionopt import figures
from actionopt.action.draw_trajectory import draw_trajectory
from actionopt.cli.reporting import Reporting


@click.command(cls=Reporting)
@click.argument("trajectory", metavar="FILE.npz")
@click.option("--out", required=True, metavar="PATH", help="Where the figure goes: PNG, SVG or PDF by its ending.")
@click.option("--dark", is_flag=True, help="Light ink on dark ground.")
def main(trajectory: str, out: str, dark: bool) -> None:
    """Draw a trajectory that `actionopt flow` or `actionopt action` saved."""
    figures.check_path(out)
    click.echo(figures.save(draw_trajectory(ao.Trajectory.load(trajectory), dark=dark), out))


if __name__ == "__main__":
    main()
