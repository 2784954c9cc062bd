"""CasADi's NLP solvers behind one door: names, quiet defaults, status with advice, multipliers of one sign, residuals.

    minimise f(x, p)   subject to   lbx <= x <= ubx,   lbg <= g(x, p) <= ubg

with the Lagrangian `f + lam_g^T g + lam_x^T x`: a multiplier is positive at an upper bound, negative at a lower one,
and of either sign at an equality.

Solvers stop at absolute tolerances, so that they get `f / scale`, the scale being the size of the terms of the
first-order conditions at the start; multipliers come back as those of f. A program times 1e-12 and times 1e12 is the
same program to every solver, and "converged" means that the residuals computed here, relative to the scale, are within
the tolerance, whatever the solver says of itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import casadi as ca
import numpy as np

from actionopt.errors import InputError
from actionopt.interrupts import Interrupt, interruptible
from actionopt.nlp.deadline import STOPPABLE, Deadline, deadline_options
from actionopt.nlp.derivatives import Derivatives, Program
from actionopt.nlp.plugins import (
    asks_for_output,
    check_limits,
    check_solver,
    default_options,
    explained,
    merged,
)
from actionopt.nlp.scale import StartScale, checked_scale
from actionopt.nlp.silence import silenced
from actionopt.nlp.verdict import ADVICE, Bounds, Course, Residuals, judge, largest


@dataclass(frozen=True)
class Stages:
    """The stages of an optimal-control problem, as fatrop needs them by hand.

    Variables are ordered `x_0, u_0, x_1, u_1, ..`; constraints `x_1 - f_0(x_0, u_0), g_0, x_2 - f_1(x_1, u_1), g_1,
    ..`, where the next state enters with +1.

    Attributes
    ----------
    states, controls, constraints : tuple of int
        Sizes nx, nu, ng of every stage, the last one included.
    """

    states: tuple[int, ...]
    controls: tuple[int, ...]
    constraints: tuple[int, ...]

    def options(self, equality: np.ndarray) -> dict[str, Any]:
        """Return the options of CasADi's fatrop; `equality` tells which entries of g are equalities."""
        return {
            "structure_detection": "manual",
            "N": len(self.states) - 1,
            "nx": list(self.states),
            "nu": list(self.controls),
            "ng": list(self.constraints),
            "equality": [bool(entry) for entry in equality],
        }


@dataclass(frozen=True)
class NlpSolution:
    """Where a solver stopped.

    Attributes
    ----------
    x, lam_x : array (nx,)
        Point, and multipliers of its bounds.
    lam_g : array (ng,)
        Multipliers of the constraints.
    objective : float
    success : bool
        Whether the status is "converged".
    status : str
        "converged", "iteration limit", "time limit", "infeasible", "not finite", "unbounded", "ascended",
        "interrupted" or "stopped".
    message : str
        What happened, and what to do about it.
    stats : dict
        solver, solver_status (its own words), iterations, build_time and solve_time (seconds), and the residuals
        computed here at `x`: stationarity `max |d Lagrangian / dx|`, infeasibility (largest violation) and
        complementarity (largest multiplier times distance from its bound), in the program's units; `scale`, and
        relative to it `scaled_stationarity`, `scaled_infeasibility`, `scaled_complementarity`, which `tol` bounds.
    """

    x: np.ndarray
    lam_x: np.ndarray
    lam_g: np.ndarray
    objective: float
    success: bool
    status: str
    message: str
    stats: dict[str, Any] = field(repr=False)


class NlpSolver:
    """A nonlinear program, built once and solved from any start.

    Parameters
    ----------
    x, f, g : CasADi expressions
        Unknowns, objective and constraints (None where there are none).
    p : CasADi expression, optional
        Parameters, given anew at every solve.
    solver : str
        Name of an installed CasADi NLP plugin.
    tol : float
        Tolerance on the first-order conditions, relative to their scale at the start.
    max_iterations : int
    time_limit : float, optional
        Seconds after which a solve ends with the status "time limit".
    interrupt : Interrupt, optional
        Where somebody beside the plugin looks whether Ctrl-C came; without, ipopt, fatrop and the SQP methods do.
    watch : callable, optional
        Gets the unknowns `(nx,)` after every iteration of these, and ends the solve where it returns True.
    options : mapping, optional
        CasADi's options for the plugin, merged over the defaults; the solver's own go below its name, as in
        `{"ipopt": {"linear_solver": "mumps"}}`.
    equality : bool or array (ng,) of bool
        Which constraints will be given equal bounds; fatrop must know in advance.
    stages : Stages, optional
        Stage structure; fatrop needs it, others ignore it.
    derivatives : Derivatives, optional
        Jacobian and Hessian of known structure; CasADi's own where None.

    Raises
    ------
    InputError
        For a solver or an option that does not exist, or a tolerance or limit that is not positive.
    """

    def __init__(
        self,
        x: Any,
        f: Any,
        g: Any = None,
        p: Any = None,
        *,
        solver: str = "ipopt",
        tol: float = 1e-8,
        max_iterations: int = 1000,
        time_limit: float | None = None,
        interrupt: Interrupt | None = None,
        watch: Callable[[np.ndarray], bool] | None = None,
        options: Mapping[str, Any] | None = None,
        equality: Any = True,
        stages: Stages | None = None,
        derivatives: Derivatives | None = None,
    ) -> None:
        began = time.perf_counter()
        check_solver(solver)
        check_limits(tol, max_iterations, time_limit)
        g = type(x)(0, 1) if g is None else g
        p = type(x)(0, 1) if p is None else p
        program = Program(x, p, type(x).sym("sigma"), f, g, derivatives)
        self.interrupt = Interrupt() if interrupt is None else interrupt
        self._heeded = interrupt is not None or solver in STOPPABLE
        asked = solver in STOPPABLE and "iteration_callback" not in (options or {})
        cache, self.deadline = program.cache(solver), Deadline(time_limit, self.interrupt if asked else None, watch)
        chosen = merged(default_options(solver, tol, max_iterations), options)
        if solver == "fatrop":
            if stages is None:
                raise InputError("solver 'fatrop' needs the stages of an optimal-control problem: use 'ipopt' here")
            chosen = {**stages.options(np.broadcast_to(equality, (g.numel(),))), **chosen}
        chosen = merged(chosen, deadline_options(solver, program, cache, self.deadline))
        if cache:
            chosen = {"cache": cache, **chosen}
        self.name, self.tol, self.max_iterations = solver, tol, max_iterations
        self.quiet = not asks_for_output(options or {})
        self.scale = 1.0  # of the solve that runs: what a plugin reports of the objective is divided by it
        self._kept = chosen  # Python's callbacks, which CasADi does not keep
        self.function = interruptible(lambda: self._build(program, chosen))
        self._residual, self._scale = program.residual(), StartScale(program)
        self.build_time = time.perf_counter() - began

    def _build(self, program: Program, options: dict[str, Any]) -> ca.Function:
        with explained(self.name), silenced(self.quiet):
            return ca.nlpsol("nlp", self.name, program.as_casadi(), options)

    def _run(self, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Call the plugin: what it returns and says of itself; the last point it showed where it was given up.

        So it is on Ctrl-C, and where a plugin does not return long after its time was over.
        """

        def call() -> Any:
            with explained(self.name), silenced(self.quiet):
                return self.function(**given)

        try:
            with self._interrupts():
                self.interrupt.until = self.deadline.latest
                found = interruptible(call, self.interrupt)
            if not (self.deadline.ended and self.name == "fatrop"):  # which may have gone on
                return found, self.function.stats()
        except KeyboardInterrupt:
            if not self.deadline.missed:
                if not self.deadline.seen:
                    raise
                self.interrupt.raised = True
        start = {"x": given["x0"], "lam_x": np.zeros(self.function.size1_in("x0")), "lam_g": given["lam_g0"]}
        return {**start, **self.deadline.seen}, {}

    def solve(
        self,
        x0: Any,
        p: Any = (),
        *,
        lbx: Any = -np.inf,
        ubx: Any = np.inf,
        lbg: Any = 0.0,
        ubg: Any = 0.0,
        lam_g0: Any = 0.0,
        lam_x0: Any = 0.0,
        scale: float | None = None,
        sizes: Any = 1.0,
    ) -> NlpSolution:
        """Solve from `x0 (nx,)`; a solver that stops early says so in the status, it does not raise.

        Parameters
        ----------
        x0, p : arrays
            Start and parameters.
        lbx, ubx, lbg, ubg, lam_g0, lam_x0 : numbers or arrays
            Bounds, and the multipliers to start from, of f as it is given.
        scale : float, optional
            Size of the terms of the first-order conditions, which `tol` is relative to; at the start where None, see
            `actionopt.nlp.scale`.
        sizes : number or array (ng,)
            Size of what each constraint compares, which its violation is relative to.

        Raises
        ------
        InputError
            If the start is not finite, bounds cross, or the solver does not take an option.
        """
        bounds = Bounds(lbx, ubx, lbg, ubg)
        x0 = np.broadcast_to(np.asarray(x0, dtype=float), self.function.size_in("x0")[:1])
        if not np.isfinite(x0).all():
            raise InputError(f"the start must be finite, got {x0[~np.isfinite(x0)][0]} at entry {_first_bad(x0)}")
        p = np.asarray(p, dtype=float)
        lam_g0 = np.broadcast_to(np.asarray(lam_g0, dtype=float), self.function.size_in("lam_g0")[:1])
        start = self._at(x0, p, lam_g0)
        scale = checked_scale(scale) if scale is not None else self._scale.at(x0, p, lam_g0, bounds.equalities)
        began = time.perf_counter()
        if not np.isfinite(start.gradient).all():
            return self._finished(x0, np.zeros_like(x0), lam_g0, start, scale, p, bounds, sizes, {}, 0.0)
        self.deadline.start()
        self.scale = scale
        given = {"x0": x0, "p": np.append(p, 1.0 / scale), "lam_g0": lam_g0 / scale, "lam_x0": lam_x0 / scale}
        given |= bounds.for_solver(self.name)
        out, ended = self._run(given)
        solve_time = time.perf_counter() - began
        x, lam_x, lam_g = (np.asarray(out[key], dtype=float).reshape(-1) for key in ("x", "lam_x", "lam_g"))
        return self._finished(x, lam_x * scale, lam_g * scale, start, scale, p, bounds, sizes, ended, solve_time)

    def _interrupts(self) -> contextlib.AbstractContextManager[None]:
        """Take Ctrl-C as the wish to stop where somebody heeds it, and as the end of the wait elsewhere."""
        self.interrupt.reset()
        return self.interrupt.catching() if self._heeded else contextlib.nullcontext()

    def _at(self, x: np.ndarray, p: np.ndarray, lam_g: np.ndarray) -> _Point:
        return _Point(x, *(out.full().reshape(-1) for out in self._residual(x, p, lam_g)))

    def _finished(
        self,
        x: np.ndarray,
        lam_x: np.ndarray,
        lam_g: np.ndarray,
        start: _Point,
        scale: float,
        p: np.ndarray,
        bounds: Bounds,
        sizes: Any,
        ended: dict[str, Any],
        solve_time: float,
    ) -> NlpSolution:
        """Compute the residuals where a solver ended, and judge."""
        end = self._at(x, p, lam_g)
        with np.errstate(invalid="ignore"):
            residuals = Residuals(
                stationarity=largest(abs(end.gradient + end.pulled + lam_x)),
                infeasibility=largest(bounds.violation(x, end.g)),
                complementarity=largest(bounds.complementarity(x, end.g, lam_x, lam_g)),
                scale=scale,
                relative_infeasibility=largest(bounds.violation(x, end.g, sizes)),
            )
            started = largest(bounds.violation(start.x, start.g, sizes))
        count = int(ended.get("iter_count", 0 if not ended else -1))
        course = Course(
            start=start.objective / scale,
            end=end.objective / scale,
            feasible_start=started <= self.tol,
            words=f"{ended.get('return_status', '')} {ended.get('unified_return_status', '')}",
            out_of_iterations=count >= self.max_iterations,
            out_of_time=self.deadline.passed,
            interrupted=self.interrupt.raised,
        )
        status = judge(residuals, course, self.tol)
        after = f" after {count} iterations" if count >= 0 else ""
        return NlpSolution(
            x=x,
            lam_x=lam_x,
            lam_g=lam_g,
            objective=end.objective,
            success=status == "converged",
            status=status,
            message=f"{self.name}: {status}{after} ({residuals}); {ADVICE[status]}",
            stats={
                "solver": self.name,
                "solver_status": str(ended.get("return_status", ended.get("unified_return_status"))),
                "iterations": count,
                "build_time": self.build_time,
                "solve_time": solve_time,
                **residuals.stats(),
            },
        )


@dataclass(frozen=True)
class _Point:
    """The program at one point: df/dx, J^T lam_g, g, and f."""

    x: np.ndarray
    gradient: np.ndarray
    pulled: np.ndarray
    g: np.ndarray
    value: np.ndarray

    @property
    def objective(self) -> float:
        return float(self.value[0])


def _first_bad(values: np.ndarray) -> int:
    return int(np.argmax(~np.isfinite(values)))
