"""`actionopt path`: the path of least action between two points, whatever time it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.cli.common import emit, problem_command
from actionopt.cli.points import check_out, parse_point
from actionopt.errors import InputError
from actionopt.loading import load_problem
from actionopt.paths.least_action import least_action_path
from actionopt.paths.result import GeometricPath
from actionopt.tables import text_table


@problem_command
@click.option("--start", required=True, help="A named point, or numbers with commas: as a rule an attractor.")
@click.option("--end", required=True, help="A named point, or numbers with commas.")
@click.option("--elements", default="25,50,100", show_default=True, help="Numbers of elements, solved in turn.")
@click.option("--starts", type=int, default=4, show_default=True, help="Strings to begin with, beyond two dimensions.")
@click.option("--metric", default="layerwise", show_default=True, help="Also joint, euclidean (the mass alone).")
@click.option("--tol", type=float, default=1e-9, show_default=True, help="Relative gradient across the path.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the strings.")
@click.option("--out", type=click.Path(path_type=Path), help="Save the path as FILE.npz.")
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    start: str,
    end: str,
    elements: str,
    out: Path | None,
    **options: Any,
) -> int:
    """Find the path of least action from START to END over all horizons: the quasipotential of END.

    Guesses, critical points and meshes are its own; every path that was found is listed. For a path in a given time
    there is `actionopt action`.

    Exit status 1: the path is not stationary, or no minimum of the action.
    """
    check_out(out)
    what = load_problem(path, **settings)
    found = least_action_path(
        what,
        parse_point(path, start, "--start"),
        parse_point(path, end, "--end"),
        elements=_numbers(elements),
        throw=False,
        **options,
    )
    if out is not None:
        found.save(out)
    emit(as_json, {**found.summary, "points": found.points}, _table(found, out))
    return 0 if found.is_minimum else 1


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"--elements takes whole numbers with commas, such as 25,50,100; got {text!r}") from None


def _table(found: GeometricPath, out: Path | None) -> str:
    points = [
        (point.kind, point.unstable, np.array2string(point.point, precision=6, threshold=6))
        for point in found.critical_points
    ]
    candidates = [
        (c.name, f"{c.action:.10g}", c.elements, "yes" if c.converged else "coarse mesh") for c in found.candidates
    ]
    about = [
        ("action", f"{found.action:.10g}"),
        ("estimated error", f"{found.action_error:.2g}"),
        ("lowest eigenvalue", f"{found.lowest_eigenvalue:.4g}"),
        ("relative gradient", f"{found.stats['gradient_norm']:.1e}"),
        ("seconds", f"{found.stats['seconds']:.2g}"),
    ]
    parts = [
        f"{found.name}: {found.size} coordinates, {found.stats['elements']} elements, {found.status}",
        text_table(("the least path", ""), about),
        text_table(("critical point", "unstable", "at"), points) if points else "no critical points on the path",
        text_table(("found from", "action", "elements", "converged"), candidates),
        found.message,
    ]
    return "\n\n".join(parts) + (f"\nsaved {out}" if out is not None else "")
