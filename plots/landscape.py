"""Saved paths on the contours of the energy they cross, or on the streamlines of their drift.

From the circle to the square; dots are equal times. Of more than two weights the plane of largest variance of the paths
is shown, as the axes say.

    actionopt action problems/mueller_brown.py --start "deep minimum" --end "middle minimum" --scheme gauss2 \
        --horizon 0.01,0.02,0.03,0.04,0.05 --out path.npz
    python plots/landscape.py problems/mueller_brown.py --path path.npz --out out/landscape.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import actionopt as ao
from actionopt.action.draw_landscape import draw_landscape
from actionopt.cli.common import plot_command
from actionopt.loading import named_points
from actionopt.paths.kinds import kinds_of_points


@plot_command
@click.option("--path", "files", multiple=True, required=True, metavar="FILE.npz", help="A saved path; repeatable.")
@click.option("--resolution", type=click.IntRange(min=2), help="Points along an axis.  [default: 120, fewer if dear]")
def main(
    path: Path,
    settings: dict[str, Any],
    dark: bool,
    files: tuple[str, ...],
    resolution: int | None,
    labels: tuple[str, ...] | None,
) -> Any:
    """Draw saved paths on the landscape of their problem."""
    what, points = ao.load_problem(path, **settings), named_points(path)
    if labels is not None and len(labels) != 2:
        raise ao.InputError(f"--labels of a landscape are two names with a comma, got {','.join(labels)!r}")
    if labels is not None:
        what.coordinates = labels
    return draw_landscape(
        what, [_load(file) for file in files], points=points, kinds=kinds_of_points(what, points),
        resolution=resolution, dark=dark,
    )  # fmt: skip


def _load(file: str) -> Any:
    """Read a path in a given time, or one without."""
    try:
        return ao.Trajectory.load(file)
    except ao.InputError:
        try:
            return ao.GeometricPath.load(file)
        except ao.InputError:
            pass
        raise


if __name__ == "__main__":
    main()
