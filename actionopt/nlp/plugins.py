"""What each of CasADi's NLP plugins wants to be told: names, quiet options, limits, and what its errors mean."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import casadi as ca
import numpy as np

from actionopt.errors import InputError, unknown_name

_QP = {"qpsol": "qrqp", "qpsol_options": {"print_iter": False, "print_header": False, "error_on_fail": False}}


_UNSUITABLE = {"ampl", "bonmin", "scpgen"}  # an external program, one that returns no multipliers, one unfinished


def check_solver(name: str) -> None:
    """Raise InputError, with the installed solvers and the nearest name, unless CasADi has this NLP solver."""
    if not is_nlp_solver(name):
        raise unknown_name("solver", name, installed_solvers())


def is_nlp_solver(name: object) -> bool:
    """Whether CasADi can load an NLP solver of this name here."""
    return isinstance(name, str) and name in _plugins() and bool(ca.has_nlpsol(name))


def installed_solvers() -> list[str]:
    """List the NLP solvers that CasADi can load here."""
    return [name for name in _plugins() if ca.has_nlpsol(name)]


def _plugins() -> list[str]:
    entries = (entry.split("::") for entry in ca.CasadiMeta.plugins().split(";"))
    return sorted(name for kind, name in entries if kind == "Nlpsol" and name not in _UNSUITABLE)


def check_limits(tol: Any, max_iterations: Any, time_limit: Any = None) -> None:
    """Raise InputError unless a tolerance is positive and finite, a limit of iterations >= 1, and one of time > 0."""
    if not (isinstance(tol, Real) and 0.0 < float(tol) < np.inf):
        raise InputError(f"tol must be a positive number, got {tol!r}")
    if isinstance(max_iterations, bool) or not isinstance(max_iterations, (int, np.integer)) or max_iterations < 1:
        raise InputError(f"max_iterations must be a whole number >= 1, got {max_iterations!r}")
    positive = isinstance(time_limit, Real) and not isinstance(time_limit, bool) and float(time_limit) > 0.0
    if time_limit is not None and not positive:
        raise InputError(f"time_limit must be a positive number of seconds, or None, got {time_limit!r}")


def default_options(solver: str, tol: float, limit: int) -> dict[str, Any]:
    """Return quiet options with the tolerance and the limit under each solver's own names."""
    limit = int(limit)
    # no looser stop: the tolerance holds for what is not scaled by multipliers, too
    ipopt = {"print_level": 0, "sb": "yes", "tol": tol, "max_iter": limit, "acceptable_iter": 0}
    ipopt |= {"bound_relax_factor": 1e-10, "honor_original_bounds": "yes"}
    ipopt |= {"dual_inf_tol": tol, "constr_viol_tol": tol, "compl_inf_tol": 0.01 * tol}  # bounds met, nearly
    # its residual is divided by the mean multiplier, and it would take a looser one after a few iterations
    fatrop = dict.fromkeys(("tol", "tol_acceptable", "constr_viol_tol", "compl_inf_tol"), 0.1 * tol)
    no_prints = {"print_header": False, "print_iteration": False, "print_status": False}
    own: dict[str, dict[str, Any]] = {
        "ipopt": {"ipopt": ipopt},
        "fatrop": {"fatrop": {"print_level": 0, "max_iter": limit, **fatrop}},
        "sqpmethod": {**no_prints, **_QP, "tol_pr": tol, "tol_du": tol, "max_iter": limit},
        "feasiblesqpmethod": {**no_prints, **_QP, "tol_pr": tol, "tol_du": tol, "max_iter": limit},
        "qrsqp": {"tol_pr": tol, "tol_du": tol, "max_iter": limit},
        "uno": {"uno": {"logger": "SILENT", "primal_tolerance": tol, "dual_tolerance": tol, "max_iterations": limit}},
        "alpaqa": {"alpaqa": {"alm": {"tolerance": tol, "dual_tolerance": tol}}},
        # its default linear solver is not part of CasADi's own build; the dense path does without
        "blocksqp": {
            "opttol": 0.1 * tol,
            "nlinfeastol": 0.1 * tol,
            "max_iter": limit,
            "schur": False,
            "hess_update": 1,
        },
    }
    common = {"print_time": False, "show_eval_warnings": False, "error_on_fail": False, "calc_lam_p": False}
    return {**common, **own.get(solver, {})}


def merged(defaults: Mapping[str, Any], options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Merge nested options, the user's last."""
    result = dict(defaults)
    for key, value in (options or {}).items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def asks_for_output(options: Mapping[str, Any]) -> bool:
    return any(
        asks_for_output(value) if isinstance(value, Mapping) else key.startswith(("print", "verbose")) and bool(value)
        for key, value in options.items()
    )


@contextlib.contextmanager
def explained(solver: str) -> Iterator[None]:
    """Turn CasADi's complaint about an option, or a plugin that cannot run here, into one line."""
    try:
        yield
    except (RuntimeError, NotImplementedError, TypeError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        for line in lines:
            for phrase in ("Unknown option: ", f"No such {solver.upper()} option: ", "option not supported: "):
                if phrase in line:
                    raise _unknown_option(solver, line.partition(phrase)[2].strip()) from None
        if "type mismatch" in str(error):
            raise InputError(f"solver {solver!r}: an option has a value of the wrong type") from error
        reason = next((line for line in reversed(lines) if ".cpp" in line), lines[-1] if lines else "no reason given")
        raise InputError(f"solver {solver!r} cannot solve this: {reason.split('/')[-1]}") from error


def _unknown_option(solver: str, name: str) -> InputError:
    listed = ca.nlpsol_options if is_nlp_solver(solver) else ca.conic_options
    error = unknown_name(f"option of solver {solver!r}", name, [*listed(solver), "expand", "jit", solver])
    return InputError(f"{error}; options of the solver itself go below its name, {{{solver!r}: {{...}}}}")
