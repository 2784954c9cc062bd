"""Points and trajectories on the command line: names of the problem file, numbers, files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.action.lagrangian import Lagrangian
from actionopt.action.trajectory import Trajectory
from actionopt.errors import InputError, unknown_name
from actionopt.loading import named_points
from actionopt.problem import Problem


def parse_point(path: Path, text: str, option: str) -> np.ndarray:
    """Read a point: a name among the POINTS of the problem file, or numbers with commas, nan where free.

    Raises
    ------
    InputError
        If it is neither, with the names the file knows.
    """
    points = named_points(path)
    if text.strip() in points:
        return np.atleast_1d(np.asarray(points[text.strip()], dtype=float))
    try:
        return np.array([float(number) for number in text.split(",")])
    except ValueError:
        if points:
            raise unknown_name(f"point of {path} for {option}", text, points) from None
        raise InputError(
            f"{option} takes numbers with commas, such as 0.5,nan; got {text!r} ({path} names no POINTS)"
        ) from None


def starting_point(path: Path, what: Problem | Lagrangian, text: str | None, seed: int) -> np.ndarray:
    """Read --start, or draw the initial weights of a problem from a seed.

    Raises
    ------
    InputError
        If there is no start, and a Lagrangian has no initial weights.
    """
    if text is not None:
        return parse_point(path, text, "--start")
    if isinstance(what, Problem):
        return what.initial_weights(seed)
    raise InputError(f"{path} defines a {type(what).__name__}: give --start, a name or {what.size} numbers with commas")


def trajectory_record(trajectory: Trajectory) -> dict[str, Any]:
    """The scalars and the arrays over time of a trajectory by attribute name, for --json."""
    names = ("times", "weights", "energy", "hamiltonian", "step_actions")
    return {**trajectory.summary, **{name: getattr(trajectory, name) for name in names}}


def check_out(out: Path | None, ending: str = ".npz") -> None:
    """Raise InputError where a result could not be saved, before anything is computed."""
    if out is None:
        return
    if out.suffix != ending:
        raise InputError(f"--out takes a name that ends in {ending}, got {out}")
    folder = next(folder for folder in out.absolute().parents if folder.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise InputError(f"cannot write {out}: {folder} is no folder that can be written to")


def save(trajectory: Trajectory, out: Path | None, as_json: bool) -> None:
    """Save a trajectory where --out is given, and say so unless standard output belongs to JSON."""
    if out is not None:
        trajectory.save(out)
        if not as_json:
            click.echo(f"saved {out}")


def keep_interrupted(trajectory: Trajectory, path: Path, out: Path | None, advice: str) -> int:
    """Save what Ctrl-C left, say where on standard error, and return the exit status."""
    out = out or Path(f"{path.stem}-interrupted.npz")
    trajectory.save(out)
    click.echo(f"actionopt: interrupted; the last trajectory is in {out}: {advice.format(out)}", err=True)
    return 130
