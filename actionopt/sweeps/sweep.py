"""Sweeps: one problem with many options and seeds, a row a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actionopt.action.progress import progress_bar
from actionopt.errors import InputError, unknown_name
from actionopt.executors import run_all
from actionopt.loading import load_file
from actionopt.sweeps.grid import cases_of
from actionopt.sweeps.store import Store, missing
from actionopt.sweeps.table import SweepTable
from actionopt.sweeps.work import Work


def sweep(
    build: str | Path | Callable[..., Any],
    options: Mapping[str, Any],
    *,
    seeds: int | Sequence[int] = 1,
    run: Callable[[Any, int], Mapping[str, Any]],
    executor: Any = None,
    out: str | Path | None = None,
    progress: bool = False,
) -> SweepTable:
    """Run a problem for every combination of options, with every seed.

    Parameters
    ----------
    build : path or callable
        A problem file, or `build(**options)`.
    options : mapping
        A list of values an option; anything that is no list, tuple or range is one value.
    seeds : int or sequence of int
        How many, from 0 on, or which.
    run : callable
        `run(problem, seed)` returns a mapping of numbers or words: the row. For other processes it must stand at the
        top of a module.
    executor : optional
        Where the runs go: an executor of `concurrent.futures` or `mpi4py.futures`, or a `Client` of dask.distributed;
        one after the other where None.
    out : path, optional
        A folder that keeps each row as soon as it is finished. The same sweep goes on from there, and more options or
        seeds may be added. What failed is run again, and so are rows of other code of `run` or `build` or other data.
    progress : bool
        Show a bar on stderr, with the time that is left.

    Returns
    -------
    SweepTable
        `.rows` in the order of the grid, `.failed` with the message of each case that raised. The table does not depend
        on the executor.

    Raises
    ------
    InputError
        If the file does not know an option, the executor cannot send the function, or `out` is another sweep's.
    SolverError
        If a worker died and its executor does not replace it.

    Examples
    --------
    >>> import actionopt as ao
    >>> def build(mass=1.0):
    ...     return ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError(), mass=mass)
    >>> def end(problem, seed):
    ...     w = problem.initial_weights(seed)
    ...     return {"energy": problem.energy(ao.step(problem, w, 1.0))}
    >>> table = sweep(build, {"mass": [1e-3, 1.0]}, seeds=3, run=end)
    >>> len(table.rows), [row["mass"] for row in table.rows[::3]]
    (6, [0.001, 1.0])
    """
    if not callable(run):
        raise InputError(f"run must be a function run(problem, seed), got {run!r}")
    cases = cases_of(options, seeds)
    work = Work(build if callable(build) else str(build), run, kept=out is not None)
    _check_options(work, options)
    store = None if out is None else Store(out, work)
    rows, todo = missing(store, cases)
    with progress_bar(len(cases), "sweep", progress) as tick:
        for _ in rows:
            tick()
        for index, (row, built) in run_all(work, todo, executor):
            if store is not None:
                store.keep(todo[index], row, built)
            rows[todo[index].key] = row
            tick()
    return SweepTable(tuple(options), [rows[case.key] for case in cases])


def _check_options(work: Work, options: Mapping[str, Any]) -> None:
    """Name an option that the problem does not know once, before every run would."""
    build = work.build if callable(work.build) else getattr(load_file(work.build), "build", None)
    if not callable(build):
        raise InputError(f"{work.build}: expected a function build(**options) that returns a Problem or a Lagrangian")
    parameters = inspect.signature(build).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            raise unknown_name(
                "option of " + (str(work.build) if isinstance(work.build, str) else "build"), name, parameters
            )
