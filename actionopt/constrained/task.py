"""What is to be trained: a problem, a start, bounds, constraints, and how far to go, all checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.constrained.constraint import PlacedConstraint, make_bounds, place_constraints, start_within
from actionopt.constrained.history import Moment
from actionopt.constrained.lifted import Quadratic
from actionopt.constrained.scale import Terms, terms_at
from actionopt.constrained.stage_point import ChainPoint
from actionopt.constrained.stage_terms import stage_slopes, stage_terms
from actionopt.constrained.stages import Chain, why_no_chain
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.nlp.plugins import check_limits
from actionopt.problem import Problem
from actionopt.symbolic import SCALAR_LIMIT

FORMULATIONS = ("auto", "lifted", "condensed")
# numbers in all states from which ipopt gets the condensed form, weights up to which (their Hessian is formed) and
# nodes from which it does not: measured, 229 weights on 150 samples take 0.4 s condensed and 5.2 s lifted
MANY_STATES, FEW_WEIGHTS, DEEP = 1000, 500, 10


@dataclass(frozen=True)
class TrainTask:
    """What is to be solved, checked.

    Attributes
    ----------
    problem : Problem
    start : array (n,)
    solver, formulation : str
    tol : float
        On the first-order conditions, relative to their terms.
    max_iterations : int
    time_limit : float or None
    options : mapping or None
    bounds : (low, high)
        Arrays `(n,)`.
    constraints : tuple of PlacedConstraint
    penalty : Quadratic or None
        A term of the weights, added to E.
    second_order, progress : bool
    callback : callable or None
    """

    problem: Problem
    start: np.ndarray
    solver: str
    formulation: str
    tol: float
    max_iterations: int
    time_limit: float | None
    options: Mapping[str, Any] | None
    bounds: tuple[np.ndarray, np.ndarray]
    constraints: tuple[PlacedConstraint, ...] = ()
    penalty: Quadratic | None = None
    second_order: bool = False
    progress: bool = False
    callback: Callable[[Moment], Any] | None = None

    @cached_property
    def terms(self) -> Terms:
        """The size of the terms of the first-order conditions at the start."""
        if self.reads and not why_no_chain(self.problem):
            with np.errstate(all="ignore"):
                return stage_terms(self.by_stages, stage_slopes(self.by_stages))
        return terms_at(self.problem, self.start)

    @cached_property
    def reads(self) -> bool:
        """Whether costs or constraints sit on nodes that only read a stage, as in control problems."""
        return any(module.is_reading for module in self.problem.modules)

    @cached_property
    def by_stages(self) -> ChainPoint:
        """The start as a chain, where the problem is one."""
        chain = Chain(self.problem, 1.0, self.constraints)
        return chain.at(self.start, chain.simulate(self.start))

    @property
    def scale(self) -> float:
        """What the energy is divided by for a solver."""
        return self.terms.largest

    @property
    def bounded(self) -> bool:
        """Whether any weight has a bound."""
        return bool(np.isfinite(self.bounds[0]).any() or np.isfinite(self.bounds[1]).any())


def make_task(
    problem: Problem,
    start: Any,
    *,
    solver: str,
    formulation: str = "auto",
    tol: float = 1e-8,
    max_iterations: int = 1000,
    time_limit: float = math.inf,
    options: Mapping[str, Any] | None = None,
    bounds: Any = None,
    constraints: Any = (),
    penalty: Quadratic | None = None,
    second_order: bool = False,
    progress: bool = False,
    callback: Callable[[Moment], Any] | None = None,
) -> TrainTask:
    """Check everything and gather it; `start` None is `problem.initial_weights()`, moved within the bounds.

    Bounds and constraints that belong to the problem itself, as those of `control` do, hold in any case.

    Raises
    ------
    InputError
        If something does not fit.
    """
    check_limits(tol, max_iterations, time_limit)
    if not is_name(formulation, FORMULATIONS):
        raise unknown_name("formulation", formulation, FORMULATIONS)
    w = check_start(problem, start)
    own = getattr(problem, "bounds", None)
    low_high = make_bounds(problem, own if bounds is None else bounds)
    placed = place_constraints(problem, [*getattr(problem, "constraints", ()), *as_list(constraints)])
    w = start_within(w, low_high, given=start is not None)
    return TrainTask(
        problem=problem,
        start=w,
        solver=solver,
        formulation=formulation,
        tol=tol,
        max_iterations=max_iterations,
        time_limit=None if time_limit == math.inf else time_limit,
        options=options,
        bounds=low_high,
        constraints=tuple(placed),
        penalty=penalty,
        second_order=second_order,
        progress=progress,
        callback=callback,
    )


def as_list(constraints: Any) -> list[Any]:
    """Return one constraint or several as a list."""
    return list(constraints) if isinstance(constraints, (list, tuple)) else [constraints]


def resolve_formulation(task: TrainTask) -> str:
    """Return "lifted" or "condensed".

    "auto" is lifted, but condensed for ipopt where a module's own Hessian is large, or where few weights meet many
    samples in a network that is not deep: states are eliminated by NumPy then, and there is no factorisation over them.
    """
    if task.formulation != "auto":
        return task.formulation
    problem, network = task.problem, task.problem.network
    if task.solver != "ipopt":
        return "lifted"
    large = max((group.size for group in problem.groups), default=0) > SCALAR_LIMIT
    states = problem.samples * sum(place.size for place in network.placed)
    on_states = any(constraint.condition.node is not None for constraint in task.constraints)
    many = states > MANY_STATES and problem.size <= FEW_WEIGHTS and len(network.placed) < DEEP and not on_states
    return "condensed" if large or many else "lifted"


def check_start(problem: Problem, w: Any) -> np.ndarray:
    """Return the weights `(n,)`, `problem.initial_weights()` for None.

    Raises
    ------
    InputError
        If they do not fit, are not finite, or the energy is not finite there.
    """
    w = problem.check_point(problem.initial_weights() if w is None else w, "starting weights")
    with np.errstate(all="ignore"):
        energy = problem.energy(w)
    if not np.isfinite(energy):
        raise InputError(f"the energy at the starting weights is {energy}: choose smaller ones")
    return w
