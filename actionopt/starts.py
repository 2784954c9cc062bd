"""One search from many starts: the distinct minima they end in, the best of them, and the starts that failed."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from actionopt.errors import InputError, SolverError
from actionopt.tables import html_table, text_table

T = TypeVar("T")
R = TypeVar("R")
SAME_VALUE = 1e-6  # part of the largest |value| up to which two ends have the same value,
SAME_PLACE = 1e-3  # and part of their length up to which they stand at the same place


@dataclass(frozen=True)
class Starts(Generic[R]):
    """What came of many starts.

    Two ends are the same minimum where their values differ by at most 1e-6 of the largest |value| and their places by
    at most 1e-3 of their length (weights, or all points of a path). Minima that symmetries of a network lead over into
    each other, such as units exchanged, stand at different places and are listed apart.

    Attributes
    ----------
    values : array (S,)
        Energy or action where each start ended; NaN where that raised.
    which : array (S,) of int
        Number of the minimum, -1 for starts that failed.
    minima : list
        The distinct minima, best first: the result of the first start that ended there.
    messages : dict of int to str
        Why starts failed, by their number.
    """

    values: np.ndarray
    which: np.ndarray
    minima: list[R] = field(repr=False)
    messages: dict[int, str]

    @property
    def counts(self) -> list[int]:
        """How many starts ended in each minimum."""
        return [int((self.which == k).sum()) for k in range(len(self.minima))]

    def __str__(self) -> str:
        lines = [text_table(_HEADERS, self._cells())]
        return "\n".join([*lines, *(f"start {s} failed: {message}" for s, message in self.messages.items())])

    def _repr_html_(self) -> str:
        return html_table(_HEADERS, self._cells(), caption=f"{len(self.messages)} of {len(self.values)} starts failed")

    def _cells(self) -> list[tuple[Any, ...]]:
        first = [int(np.flatnonzero(self.which == k)[0]) for k in range(len(self.minima))]
        return [(k, float(self.values[s]), count) for k, (s, count) in enumerate(zip(first, self.counts, strict=True))]


_HEADERS = ("minimum", "value", "starts")


def from_starts(
    solve: Callable[[T], R],
    starts: Sequence[T],
    *,
    value: Callable[[R], float],
    place: Callable[[R], np.ndarray],
    usable: Callable[[R], bool],
    message: Callable[[R], str],
) -> tuple[R, Starts[R]]:
    """Solve from every start; return the best result, and what came of all.

    Where no result is usable the best of the others is returned. Ctrl-C ends with the starts so far.

    Raises
    ------
    SolverError
        If no start gave a result at all.
    """
    results: dict[int, R] = {}
    messages: dict[int, str] = {}
    for number, start in enumerate(starts):
        try:
            results[number] = solve(start)
        except (InputError, SolverError) as error:
            messages[number] = str(error)
        except KeyboardInterrupt:
            messages |= dict.fromkeys(range(number, len(starts)), "interrupted")
            break
        else:
            if not usable(results[number]):
                messages[number] = message(results[number])
    if not results:
        raise SolverError(f"none of {len(starts)} starts gave a result; the first: {next(iter(messages.values()), '')}")
    values = np.array([value(results[s]) if s in results else np.nan for s in range(len(starts))])
    good = [s for s in results if s not in messages]
    which, minima = _clustered(results, good, values, place)
    best = minima[0] if minima else results[min(results, key=lambda s: _ranked(values[s]))]
    return best, Starts(values, which, minima, messages)


def _clustered(
    results: dict[int, R], good: list[int], values: np.ndarray, place: Callable[[R], np.ndarray]
) -> tuple[np.ndarray, list[R]]:
    """Put the ends that are the same minimum together, best first."""
    which, minima = np.full(len(values), -1), list[int]()
    scale = max((abs(values[s]) for s in good), default=0.0)
    for s in sorted(good, key=lambda s: _ranked(values[s])):
        for k, known in enumerate(minima):
            ours, theirs = place(results[s]), place(results[known])
            near = np.linalg.norm(ours - theirs) <= SAME_PLACE * max(np.linalg.norm(ours), np.linalg.norm(theirs))
            if near and abs(values[s] - values[known]) <= SAME_VALUE * scale:
                which[s] = k
                break
        else:
            which[s] = len(minima)
            minima.append(s)
    return which, [results[s] for s in minima]


def _ranked(value: Any) -> float:
    return float(value) if value == value else np.inf


def start_points(name: str, starts: Any, draw: Callable[[int], T], given: Callable[[Any], list[T]]) -> list[T]:
    """Return the starts: as many as a whole number says, drawn by `draw(seed)`, or the ones that are given.

    Raises
    ------
    InputError
        If there are none.
    """
    if isinstance(starts, numbers.Integral) and not isinstance(starts, bool):
        if starts < 1:
            raise InputError(f"{name} must be at least 1, got {starts}")
        return [draw(seed) for seed in range(int(starts))]
    found = given(starts)
    if not found:
        raise InputError(f"{name} must be how many, or a sequence of at least one start; got {starts!r}")
    return found
