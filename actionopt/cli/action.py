"""`actionopt action`: a trajectory of least action, its certificate, and where it was saved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.action.continuation import continue_action
from actionopt.action.trajectory import Trajectory
from actionopt.action.waypoints import path_through
from actionopt.cli.common import problem_command
from actionopt.cli.points import check_out, deliver, parse_point, starting_point
from actionopt.errors import InputError
from actionopt.loading import load_problem
from actionopt.tables import text_table


@problem_command
@click.option("--horizon", required=True, metavar="T[,T...]", help="Length of time; several are solved in turn.")
@click.option("--steps", type=int, default=100, show_default=True, help="Number of equal steps.")
@click.option("--scheme", default="midpoint", show_default=True, help="Also gauss2, of order 4.")
@click.option("--solver", default="auto", show_default=True, help="Also newton, ipopt, fatrop, ...")
@click.option("--formulation", default="condensed", show_default=True, help="Also lifted.")
@click.option("--metric", default="layerwise", show_default=True, help="Also joint, euclidean (the mass alone).")
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--end", help="A named point or numbers with commas, nan where free.  [default: free]")
@click.option("--through", multiple=True, help="A point that the first guess passes; may be repeated.")
@click.option("--guess", help="flow, line, or a saved trajectory FILE.npz.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights.")
@click.option("--tol", type=float, default=1e-8, show_default=True, help="On the residuals, relative to their terms.")
@click.option("--max-iterations", type=int, default=1000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Save the trajectory as FILE.npz.")
@click.option("--progress/--no-progress", default=None, help="Show progress on standard error.  [default: terminals]")
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    horizon: str,
    start: str | None,
    end: str | None,
    through: tuple[str, ...],
    guess: str | None,
    seed: int,
    out: Path | None,
    progress: bool | None,
    **options: Any,
) -> int:
    """Find a trajectory of least action, from a start to a free or a given end.

    Several horizons, such as --horizon 1,2,4, are solved in turn, each path the guess for the next. Ctrl-C keeps the
    last path: it is saved to --out, or beside you as NAME-interrupted.npz.

    Exit status 1: the solver stopped early; the path it reached is shown and saved.
    """
    check_out(out)
    what = load_problem(path, **settings)
    first = starting_point(path, what, start, seed)
    last = None if end is None else parse_point(path, end, "--end")
    waypoints = [parse_point(path, text, "--through") for text in through]
    paths = continue_action(
        what,
        first,
        last,
        horizons=_horizons(horizon),
        guess=_guess(guess, first, waypoints, last, options["steps"]),
        progress=(sys.stderr is not None and sys.stderr.isatty()) if progress is None else progress,
        throw=False,
        **options,
    )
    found = paths[-1]
    return deliver(found, path, out, as_json, _table(paths), "continue from it with --guess {}")


def _horizons(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"--horizon takes a number, or several with commas, such as 1,2,4; got {text!r}") from None


def _guess(
    guess: str | None, first: np.ndarray, waypoints: list[np.ndarray], last: np.ndarray | None, steps: int
) -> Any:
    """Return what `minimize_action` takes as guess."""
    if waypoints and guess is not None:
        raise InputError("give --through or --guess, not both: either is the whole first guess")
    if waypoints:
        free = np.full_like(first, np.nan)
        return path_through([first, *waypoints, free if last is None else last], steps)
    if guess is not None and guess.endswith(".npz"):
        return Trajectory.load(guess)
    return guess


def _table(paths: list[Trajectory]) -> str:
    """Lay out a row a horizon, and the certificate of the last."""
    rows = [
        (path.times[-1] - path.times[0], f"{path.action:.10g}", path.stats.get("iterations"), path.status)
        for path in paths
    ]
    found = paths[-1]
    certificate = [
        ("kinetic", found.kinetic),
        ("potential", found.potential),
        ("energy change", found.energy_change),
        ("balance defect", found.balance_defect),
        ("highest energy", None if found.energy is None else found.energy.max()),
        ("Hamiltonian, mean", found.hamiltonian.mean()),
        ("Hamiltonian, spread", np.ptp(found.hamiltonian)),
        *_residuals(found.stats),
        ("build, seconds", found.stats.get("build_time")),
        ("solve, seconds", found.stats.get("solve_time")),
    ]
    lines = [
        f"{found.name}: {found.size} weights, {len(found.times) - 1} steps, {found.scheme}, "
        f"solver {found.stats.get('solver')}",
        "",
        text_table(("horizon", "action", "iterations", "status"), rows),
        "",
        text_table(("of the last path", "value"), [(name, f"{x:.6g}") for name, x in certificate if x is not None]),
        "",
        found.message,
    ]
    return "\n".join(lines)


def _residuals(stats: dict[str, Any]) -> list[tuple[str, float | None]]:
    """Residuals of the program, or of the plain minimum where the solver knows no constraints."""
    if "stationarity" in stats:
        return [(name, stats.get(name)) for name in ("stationarity", "infeasibility", "complementarity")]
    return [("largest gradient entry", stats.get("gradient_norm"))]
