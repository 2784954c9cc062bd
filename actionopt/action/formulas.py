"""Formulas that users give, under one signature: time is the last argument, and need not be taken."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from actionopt.errors import InputError

StageFormula = Callable[..., Any]  # (ops, w, v, t)
_TIMES = {"t", "time"}


def stage_formula_of(what: str, formula: Any) -> StageFormula:
    """Return `formula(ops, w, v)` or `formula(ops, w, v, t)` as a function of (ops, w, v, t).

    Raises
    ------
    InputError
        If it is no function, or one of other arguments.
    """
    if not callable(formula):
        raise InputError(f"{what} must be a function (ops, w, v) or (ops, w, v, t), got {formula!r}")
    return formula if _takes_time(what, formula) else lambda ops, w, v, t: formula(ops, w, v)


def point_formula_of(what: str, formula: Any) -> Callable[..., Any]:
    """Return `formula(ops, w)` as it is; raise InputError if it is no function."""
    if not callable(formula):
        raise InputError(f"{what} must be a function (ops, w), got {formula!r}")
    return formula


def _takes_time(what: str, formula: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(formula)
    except (TypeError, ValueError):  # a builtin does not tell
        return False
    if _takes(signature, 3):
        return False
    if not _takes(signature, 4):
        raise InputError(f"{what} must be a function (ops, w, v) or (ops, w, v, t), got one of {signature}")
    if _TIMES & set(list(signature.parameters)[:3]):
        raise InputError(f"{what} must take the time last, (ops, w, v, t), got one of {signature}")
    return True


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
