"""The two ways things go wrong: the input is wrong, or a solver did not get there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """The caller's input cannot be used; the message says what was expected, what came, and the way out.

    Examples
    --------
    >>> try:
    ...     ao.Dense(2, 3, "tanhh")
    ... except ao.InputError as error:
    ...     print("tanh" in str(error))
    True
    """


class SolverError(RuntimeError):
    """A solver stopped before it converged.

    Attributes
    ----------
    result : object
        The best result so far, with its status and message; `throw=False` returns it instead of raising.

    Examples
    --------
    >>> try:
    ...     ao.train(problem, w, solver="newton", max_iterations=1)
    ... except ao.SolverError as error:
    ...     print(error.result.status)
    iteration limit
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


def check_name(owner: str, name: object) -> None:
    """Raise InputError unless a name is a string or None."""
    if name is not None and not isinstance(name, str):
        raise InputError(f"{owner}: name must be a string, got {name!r} of type {type(name).__name__}")


def check_labels(labels: object, size: int) -> tuple[str, ...] | None:
    """Return names of coordinates as a tuple, None where there are none.

    Raises
    ------
    InputError
        Unless they are one string a coordinate.
    """
    if labels is None:
        return None
    names = tuple(labels) if isinstance(labels, (list, tuple)) else ()
    if len(names) != size or not all(isinstance(name, str) for name in names):
        raise InputError(f"labels must be {size} names, one a coordinate, got {labels!r}")
    return names


def is_name(value: object, known: Iterable[str]) -> bool:
    """Whether a value is one of the known names: anything may be asked, arrays and lists as well."""
    return isinstance(value, str) and value in known


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Build the error for a name that is not among the known ones, with the nearest one suggested."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")
