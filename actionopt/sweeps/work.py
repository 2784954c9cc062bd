"""One case of a sweep, as a worker runs it: built, run, and turned into a row or a message."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.action.lagrangian import Lagrangian
from actionopt.errors import InputError
from actionopt.fingerprint import fingerprint
from actionopt.loading import load_problem
from actionopt.problem import Problem
from actionopt.sweeps.code import code_digest
from actionopt.sweeps.grid import Case

Row = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What a worker needs: how a problem is built, and what is done with it.

    Attributes
    ----------
    build : str or callable
        A problem file, or `build(**options)`.
    run : callable
        `run(problem, seed)`, a mapping of numbers or words.
    kept : bool
        Whether rows are kept, and need the digest of what was built.
    """

    build: str | Callable[..., Any]
    run: Callable[[Any, int], Mapping[str, Any]]
    kept: bool = False

    def __call__(self, case: Case) -> tuple[Row, str]:
        """Return the row of a case, and a digest of what was built; an error is a row with the key "error"."""
        row: Row = {**case.options, "seed": case.seed}
        built = ""
        try:
            problem = self.problem(case)
            built = _digest(problem) if self.kept else ""
            found = self.run(problem, case.seed)
            return {**row, **_checked(found, row)}, built
        except Exception as error:  # whatever the user's function raises is one failed case of many
            return {**row, "error": f"{type(error).__name__}: {' '.join(str(error).split())}"}, built

    def built(self, case: Case) -> str:
        """Return a digest of what a case builds now; empty for what is no Problem or Lagrangian, or cannot be built."""
        try:
            return _digest(self.problem(case))
        except Exception:  # the run itself names it
            return ""

    @cached_property
    def code(self) -> str:
        """A digest of the code of the functions."""
        return code_digest((self.run, self.build if callable(self.build) else None))

    def problem(self, case: Case) -> Any:
        """Build the problem of a case."""
        if callable(self.build):
            return self.build(**case.options)
        return load_problem(Path(self.build), **case.options)


def _digest(what: Any) -> str:
    return fingerprint(what) if isinstance(what, (Problem, Lagrangian)) else ""


def _checked(found: Any, row: Row) -> Row:
    if not isinstance(found, Mapping):
        raise InputError(f"run(problem, seed) must return a mapping of numbers or words, got {type(found).__name__}")
    entries = {}
    for name, value in found.items():
        if not isinstance(name, str) or name in row or name == "error":
            raise InputError(f"run(problem, seed) must name its results, other than options and seed; got {name!r}")
        entries[name] = _entry(name, value)
    return entries


def _entry(name: str, value: Any) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise InputError(f"run(problem, seed): {name!r} must be a number or a word, got {type(value).__name__}")
