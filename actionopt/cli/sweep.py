"""`actionopt sweep`: one problem with many options and seeds."""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from actionopt.action.flow import flow
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.scheme import make_grid
from actionopt.cli.common import emit
from actionopt.cli.reporting import Reporting
from actionopt.constrained import check_adjoints, train
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.problem import Problem
from actionopt.sweeps.sweep import sweep

TABLE = "table.csv"


def do_train(problem: Problem, seed: int) -> dict[str, Any]:
    """Train from the initial weights of a seed."""
    found = train(_modular(problem), problem.initial_weights(seed), throw=False)
    return {
        "energy": found.energy,
        "gradient": found.gradient_norm,
        "iterations": found.stats.get("iterations"),
        "status": found.status,
    }


def do_flow(problem: Problem, seed: int, horizon: float, steps: int) -> dict[str, Any]:
    """Follow the gradient flow from the initial weights of a seed."""
    w0 = _modular(problem).initial_weights(seed)
    found = flow(problem, w0, horizon=horizon, steps=steps, throw=False)
    assert found.energy is not None
    return {"energy": float(found.energy[-1]), "action": found.action, "status": found.status}


def do_check(problem: Problem, seed: int) -> dict[str, Any]:
    """Compare multipliers with backpropagation at the initial weights of a seed."""
    found = check_adjoints(_modular(problem), problem.initial_weights(seed))
    return {"ok": found.ok, "largest_error": found.max_error}


ACTIONS: dict[str, Callable[..., Mapping[str, Any]]] = {"train": do_train, "flow": do_flow, "check": do_check}


@click.command(cls=Reporting)
@click.argument("path", metavar="PROBLEM.py", type=click.Path(path_type=Path))
@click.option("--set", "settings", metavar="KEY=V,V...", multiple=True, help="Values of an option of build().")
@click.option("--seeds", default="1", show_default=True, metavar="N | A,B,...", help="How many, or which.")
@click.option("--do", "action", default="train", show_default=True, help=f"One of {', '.join(ACTIONS)}.")
@click.option("--horizon", type=float, default=10.0, show_default=True, help="Of a flow.")
@click.option("--steps", type=int, default=100, show_default=True, help="Of a flow.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes.")
@click.option("--out", type=click.Path(path_type=Path), help="A folder that keeps each row; the sweep goes on from it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--progress/--no-progress", default=None, help="Show progress on standard error.  [default: terminals]")
def command(
    path: Path,
    settings: tuple[str, ...],
    seeds: str,
    action: str,
    horizon: float,
    steps: int,
    workers: int,
    out: Path | None,
    as_json: bool,
    progress: bool | None,
) -> int:
    """Run a problem for every combination of options, with every seed; print a row a run.

    With --out each row is kept as soon as it is finished, and table.csv at the end; an interrupted sweep goes on when
    the same command is given again.

    Exit status 1: a run raised an error; the table names it.
    """
    if not is_name(action, ACTIONS):
        raise unknown_name("action", action, ACTIONS)
    if workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")
    make_grid(horizon, steps)  # wrong in any case, also where no flow is asked for
    run = partial(do_flow, horizon=horizon, steps=steps) if action == "flow" else ACTIONS[action]
    shown = (sys.stderr is not None and sys.stderr.isatty()) if progress is None else progress
    with _pool(workers) as executor:
        axes, chosen = parse_axes(settings), parse_seeds(seeds)
        table = sweep(path, axes, seeds=chosen, run=run, executor=executor, out=out, progress=shown)
    if out is not None:
        table.save(out / TABLE)
    record = {"options": table.options, "rows": table.rows, "failed": table.failed}
    emit(as_json, record, f"{table}" if out is None else f"{table}\n\nsaved {out / TABLE}")
    return 1 if table.failed else 0


def _modular(problem: Problem | Lagrangian) -> Problem:
    if not isinstance(problem, Problem):
        raise InputError(f"a sweep needs a Problem (modules, data and a loss), got a {type(problem).__name__}")
    return problem


def _pool(workers: int) -> Any:
    if workers == 1:
        return contextlib.nullcontext()
    # a forked child inherits threads' locks: CasADi and BLAS have some
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)


def parse_axes(settings: tuple[str, ...]) -> dict[str, list[Any]]:
    """Read `("width=4,8", "activation=tanh,relu")` as `{"width": [4, 8], "activation": ["tanh", "relu"]}`.

    Raises
    ------
    InputError
        If an entry is not of the form key=values, or a key comes twice.
    """
    axes: dict[str, list[Any]] = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or not key.strip().isidentifier() or not text.strip():
            raise InputError(f"--set takes key=values, such as --set width=4,8,16; got {setting!r}")
        if key.strip() in axes:
            raise InputError(f"--set {key.strip()} was given twice")
        axes[key.strip()] = _values(text)
    return axes


def parse_seeds(text: str) -> int | list[int]:
    """Read how many seeds, or which."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds takes how many, or which, such as 20 or 3,5,8; got {text!r}") from None
    return numbers if "," in text else numbers[0]


def _values(text: str) -> list[Any]:
    try:
        return list(ast.literal_eval(f"({text},)"))
    except (ValueError, SyntaxError):
        return [_value(word.strip()) for word in text.split(",")]


def _value(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
