"""Formulas of one stage on CasADi symbols, with errors that name the formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca

from actionopt.action.lagrangian import Lagrangian
from actionopt.errors import InputError
from actionopt.ops import CASADI


def stage_value(what: Lagrangian, w: ca.SX, v: ca.SX, t: ca.SX) -> ca.SX:
    """Evaluate a Lagrangian at the columns w and v at time t; raise InputError unless it gives one number."""
    value = stage_formula(f"{what.name}: the Lagrangian", what.value, w.T, v.T, t)
    if value.numel() != 1:
        raise InputError(f"{what.name}: the Lagrangian must be one number, got shape {value.shape}")
    return value


def stage_formula(what: str, formula: Callable[..., Any], *rows: ca.SX) -> ca.SX:
    """Evaluate `formula(ops, ...)` of one stage on rows."""
    try:
        return ca.SX(formula(CASADI, *rows))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{what} fails on CasADi symbols, {type(error).__name__}: {reason}; "
            "write it with the functions of ops, which takes one stage, a row, there"
        ) from error
