"""`actionopt train`: weights at which the first-order optimality conditions hold."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.cli.common import emit, load_modular, problem_command
from actionopt.cli.points import check_out, save_result
from actionopt.constrained.train import train
from actionopt.errors import InputError
from actionopt.files import replacing
from actionopt.interrupts import was_interrupted

ARRAYS = ("multipliers", "states", "constraint_multipliers")


@problem_command
@click.option("--solver", default="ipopt", show_default=True, help="Also fatrop, sqpmethod, ... as installed.")
@click.option(
    "--formulation", default="auto", show_default=True, help="lifted, or condensed: states eliminated, weights alone."
)
@click.option("--tol", type=float, default=1e-8, show_default=True, help="On the first-order conditions.")
@click.option("--max-iterations", type=int, default=1000, show_default=True)
@click.option("--time-limit", type=float, default=float("inf"), help="Seconds after which the solver stops.")
@click.option("--second-order", is_flag=True, help="Also the lowest eigenvalue: minimum or saddle?")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the weights to start from.")
@click.option("--out", type=click.Path(path_type=Path), help="Save the weights as FILE.npy.")
@click.option("--arrays", is_flag=True, help="With --json: multipliers and states, too.")
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    solver: str,
    formulation: str,
    tol: float,
    max_iterations: int,
    time_limit: float,
    second_order: bool,
    seed: int,
    out: Path | None,
    arrays: bool,
) -> int:
    """Train with an NLP solver, to a point where the optimality conditions hold.

    Exit status 1: the solver stopped early; the last iterate is shown and saved. Ctrl-C keeps it, too, in --out or
    beside you as NAME-interrupted.npy.
    """
    check_out(out, ".npy")
    problem = load_modular(path, settings)
    start = problem.initial_weights(seed)
    solution = train(
        problem,
        start,
        solver=solver,
        formulation=formulation,
        tol=tol,
        max_iterations=max_iterations,
        time_limit=time_limit,
        second_order=second_order,
        throw=False,
    )
    interrupted = was_interrupted(solution)
    record = {name: value for name, value in vars(solution).items() if arrays or name not in ARRAYS}
    headline = f"{problem.name}: {problem.size} weights, {problem.samples} samples, energy {problem.energy(start):.4g}"
    table = f"{headline} at the start\n\n{solution.table()}\n\n{solution.message}"
    try:
        where = save_result(functools.partial(_save_weights, solution.weights), path, out, ".npy", interrupted)
    except InputError:  # the print is all that is left of them
        emit(as_json, {"name": problem.name, **record}, table)
        raise
    if interrupted:
        click.echo(f"actionopt: interrupted; the last weights are in {where}", err=True)
    emit(as_json, {"name": problem.name, **record}, table)
    return 130 if interrupted else 0 if solution.success else 1


def _save_weights(weights: np.ndarray, where: Path) -> None:
    with replacing(where) as temporary:
        np.save(temporary, weights)
