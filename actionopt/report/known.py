"""The known answer of a problem file beside what was measured.

A file may define `known(**options)` with the options of its `build`: a mapping from a quantity of the report to its
value, "energy" (the least one), "action" (of the transition path, over all times) or "path action" (to the given end).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.loading import load_file, locate

QUANTITIES = ("energy", "action", "path action")
AGREE = 1e-3  # relative to the known value, or to the start's where that is zero


def drawing_of(path: Path) -> Callable[..., None] | None:
    """Return how the file draws its system, `draw(ax, problem, w)`, where it says so.

    Raises
    ------
    InputError
        If its `draw` is no function.
    """
    draw = getattr(load_file(locate(path)), "draw", None)
    if draw is not None and not callable(draw):
        raise InputError(f"{path}: draw must be a function draw(ax, problem, w), got {draw!r}")
    return draw


def known_answers(path: Path, settings: Mapping[str, Any]) -> dict[str, float]:
    """Return what the file says of the problem with these options; empty where it says nothing.

    Raises
    ------
    InputError
        If `known` raises, or returns anything else than finite numbers for known quantities.
    """
    path = locate(path)
    file = load_file(path)
    known = getattr(file, "known", None)
    if known is None:
        return {}
    try:
        bound = inspect.signature(file.build).bind(**settings)
        bound.apply_defaults()
        answers = known(**bound.arguments)
        numbers = {name: float(value) for name, value in (answers or {}).items()}
    except Exception as error:
        raise InputError(f"{path}: known() must return numbers by quantity: {type(error).__name__}: {error}") from error
    if not set(numbers) <= set(QUANTITIES) or not np.isfinite(list(numbers.values())).all():
        raise InputError(f"{path}: known() may name {', '.join(QUANTITIES)} with finite numbers, got {numbers}")
    return numbers


def beside(quantity: str, measured: float, known: Mapping[str, float], scale: float) -> tuple[str, dict[str, float]]:
    """Return a sentence that puts the known answer beside the measured one, and both for the summary.

    `scale` is what differences are measured by where the answer is zero. Empty where nothing is known.
    """
    if quantity not in known:
        return "", {}
    answer = known[quantity]
    off = abs(measured - answer) / (abs(answer) or abs(scale) or 1.0)
    values = {f"known_{quantity.replace(' ', '_')}": answer, "off_the_known_answer": off}
    if off <= AGREE:
        said = f" The known answer is {answer:.8g}: {off:.1e} away, relative to {'it' if answer else 'the start'}."
    elif measured > answer:
        said = (
            f" The known answer, {answer:.8g}, is lower: this is another local minimum, or the numbers are too coarse."
        )
    else:
        said = f" The known answer, {answer:.8g}, is HIGHER than what was found: one of the two is wrong."
    return said, values
