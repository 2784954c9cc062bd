"""`actionopt check`: are the multipliers of the layer equations the adjoints of backpropagation?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from actionopt.cli.common import emit, load_modular, problem_command
from actionopt.constrained.check import AdjointCheck, check_adjoints
from actionopt.problem import Problem

ARRAYS = ("multipliers", "adjoints", "gradient", "gradient_multipliers")


@problem_command
@click.option("--solver", default="ipopt", show_default=True, help="Also fatrop, sqpmethod, ... as installed.")
@click.option("--tol", type=float, default=1e-8, show_default=True, help="Largest relative error at which it holds.")
@click.option("--max-iterations", type=int, default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the weights at which they are compared.")
@click.option("--arrays", is_flag=True, help="With --json: the multipliers and adjoints themselves, too.")
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    solver: str,
    tol: float,
    max_iterations: int,
    seed: int,
    arrays: bool,
) -> int:
    """Compare the multipliers that an NLP solver finds for the layer equations with backpropagation.

    Exit status 1: they differ by more than the tolerance, or the solver did not converge.
    """
    problem = load_modular(path, settings)
    weights = problem.initial_weights(seed)
    check = check_adjoints(problem, weights, solver=solver, tol=tol, max_iterations=max_iterations, throw=False)
    record = {name: value for name, value in vars(check).items() if arrays or name not in ARRAYS}
    emit(as_json, {"name": problem.name, **record}, _table(problem, check))
    return 0 if check.ok else 1


def _table(problem: Problem, check: AdjointCheck) -> str:
    seconds = {part: sum(stats[key] for stats in check.stats.values()) for part, key in _TIMES.items()}
    times = ", ".join(f"{part} {value:.2g} s" for part, value in seconds.items())
    return (
        f"{problem.name}: {problem.size} weights, {problem.samples} samples, {check.solver} ({times})\n\n"
        f"{check.table()}\n\n{'holds' if check.ok else 'FAILS'}: {check.message}"
    )


_TIMES = {"build": "build_time", "solve": "solve_time"}
