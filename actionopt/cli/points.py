"""Points and trajectories on the command line: names of the problem file, numbers, files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.action.lagrangian import Lagrangian
from actionopt.action.trajectory import Trajectory
from actionopt.cli.common import emit
from actionopt.errors import InputError, unknown_name
from actionopt.interrupts import uninterrupted, was_interrupted
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
    names = ("times", "weights", "energy", "distance", "hamiltonian", "step_actions")
    return {**trajectory.summary, **{name: getattr(trajectory, name) for name in names}}


def check_out(out: Path | None, ending: str = ".npz") -> None:
    """Raise InputError where a result could not be saved, before anything is computed."""
    if out is None:
        return
    if out.suffix != ending:
        raise InputError(f"--out takes a name that ends in {ending}, got {out}")
    try:
        folder = next(folder for folder in out.absolute().parents if folder.exists())
    except OSError as error:  # a name that is too long, a working directory that is gone
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise InputError(f"cannot write {out}: {folder} is no folder that can be written to")


def save_result(
    save: Callable[[Path], Any], path: Path, out: Path | None, ending: str, interrupted: bool
) -> Path | None:
    """Save a result to --out, and what Ctrl-C left of one in any case; return where it is."""
    where = out
    if out is None and interrupted:
        where = _beside(f"{path.stem}-interrupted{ending}")
    if where is not None:
        with uninterrupted():
            save(where)
    return where


def _beside(name: str) -> Path:
    """Return a path in the working directory, or where that is gone or read-only among temporary files."""
    try:
        if os.access(os.getcwd(), os.W_OK):
            return Path(name)
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / name


def deliver(trajectory: Trajectory, path: Path, out: Path | None, as_json: bool, table: str, advice: str) -> int:
    """Save a trajectory, then print it: a reader that has gone, or a full disk behind it, costs the print alone.

    What Ctrl-C left is saved beside the user where --out is not given; `advice` says what it is good for, `{}` in it
    being the file.

    Returns
    -------
    int
        The exit status.
    """
    interrupted = was_interrupted(trajectory)
    try:
        where = save_result(trajectory.save, path, out, ".npz", interrupted)
    except InputError:  # the print is all that is left of it
        emit(as_json, trajectory_record(trajectory), table)
        raise
    if interrupted:
        note = f"actionopt: interrupted; the last trajectory is in {where}: {advice.format(where)}"
        click.echo(note, err=True)
    emit(as_json, trajectory_record(trajectory), table)
    if interrupted:
        return 130
    if where is not None and not as_json:
        click.echo(f"saved {where}")
    return 0 if trajectory.success else 1
