"""`actionopt flow`: integrate the gradient flow of a problem and show its energy over time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.action.flow import flow
from actionopt.action.outcome import judged_or_interrupted
from actionopt.action.trajectory import Trajectory
from actionopt.cli.common import load_modular, problem_command
from actionopt.cli.points import check_out, deliver, starting_point
from actionopt.tables import text_table

ROWS = 20  # nodes that the table shows of a longer flow


@problem_command
@click.option("--horizon", type=float, required=True, help="Length of time.")
@click.option("--steps", type=int, default=100, show_default=True, help="Number of equal steps.")
@click.option("--method", default="radau5", show_default=True, help="Also implicit_midpoint, rk4, DOP853, ...")
@click.option("--metric", default="layerwise", show_default=True, help="Also joint, euclidean (the mass alone).")
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights.")
@click.option("--out", type=click.Path(path_type=Path), help="Save the trajectory as FILE.npz.")
@click.option("--progress/--no-progress", default=None, help="Show progress on standard error.  [default: terminals]")
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    horizon: float,
    steps: int,
    method: str,
    metric: str,
    start: str | None,
    seed: int,
    out: Path | None,
    progress: bool | None,
) -> int:
    """Integrate the Riemannian gradient flow; show its energy at each step, and how far it is from the true flow.

    Exit status 1: it is underresolved, its estimated distance to the true flow no longer small beside the way it went;
    or it stopped early, because energy or weights are not finite. What was reached is shown and saved. So it is at
    Ctrl-C, to --out or beside you as NAME-interrupted.npz.
    """
    check_out(out)
    problem = load_modular(path, settings)
    followed = flow(
        problem,
        starting_point(path, problem, start, seed),
        horizon=horizon,
        steps=steps,
        method=method,
        metric=metric,
        progress=(sys.stderr is not None and sys.stderr.isatty()) if progress is None else progress,
        throw=False,
    )
    trajectory = judged_or_interrupted(followed)
    return deliver(trajectory, path, out, as_json, _table(trajectory), "its last weights are a start to continue from")


def _table(trajectory: Trajectory) -> str:
    """Lay out energies at up to `ROWS` nodes, evenly chosen, their distance to the true flow, and the balance."""
    assert trajectory.energy is not None
    last = len(trajectory.times) - 1
    distance = np.full(last + 1, np.nan) if trajectory.distance is None else trajectory.distance
    chosen = np.unique(np.linspace(0, last, min(last, ROWS) + 1).round().astype(int))
    rows = [(int(k), trajectory.times[k], trajectory.energy[k], f"{distance[k]:.2g}") for k in chosen]
    lines = [
        text_table(("step", "time", "energy", "distance to the true flow"), rows),
        "",
        f"{trajectory.name}: {trajectory.size} weights, {trajectory.message}",
    ]
    if trajectory.certificate is not None:
        lines.append(
            f"certificate {trajectory.certificate:.3g}: the action of a curve through the nodes, 0 for the true flow. "
            "Distances are estimated, in the metric"
        )
    if trajectory.kinetic is not None:
        lines.append(
            f"discrete action {trajectory.action:.3g}, kinetic {trajectory.kinetic:.6g}, potential "
            f"{trajectory.potential:.6g}, energy change {trajectory.energy_change:.6g}, balance defect "
            f"{trajectory.balance_defect:.2g}"
        )
    return "\n".join(lines)
