"""Multipliers against adjoints: an NLP solver and backpropagation, compared module by module and sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.backprop import Adjoints, adjoints
from actionopt.constrained.backpropagated import backpropagate, largest
from actionopt.constrained.fixed_weights import FixedWeights
from actionopt.constrained.graph import SymbolicNetwork
from actionopt.constrained.pinned_weights import PinnedWeights
from actionopt.constrained.result_file import read_check, write_check
from actionopt.constrained.scale import terms_at
from actionopt.constrained.task import TrainTask, as_list, make_task
from actionopt.constrained.training import solve_casadi
from actionopt.errors import InputError, SolverError
from actionopt.export import Columns, Exported, Variables, by_entry, features, is_csv, write_csv
from actionopt.nlp import NlpSolution
from actionopt.problem import Problem, takes_problem
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROUNDING = 1e-12  # of the terms' size, below which adjoints that vanish are no scale
_MARGIN = 100  # how much tighter than the comparison the solver works


@dataclass(frozen=True)
class ModuleCheck:
    """One row of a check.

    Attributes
    ----------
    name : str
    size : int
        Outputs d_a of the module, for each of which a sample has a multiplier.
    largest : float
        Largest |adjoint| of the module.
    max_error : float
        Largest |multiplier - adjoint| of the module.
    relative_error : float
        `max_error` over the largest |adjoint| of any module.
    """

    name: str
    size: int
    largest: float
    max_error: float
    relative_error: float


@dataclass(frozen=True)
class AdjointCheck(Exported):
    """How well the multipliers of a solver agree with backpropagation.

    Attributes
    ----------
    ok : bool
        Whether the solver converged and both relative errors are at most `tol`.
    max_error : float
        Largest |multiplier - adjoint| over all modules, samples and features.
    relative_error : float
        `max_error` over the largest |adjoint| (where all are rounding, over the size of a cost's slope): free of the
        scale of the loss and of B.
    modules : tuple of ModuleCheck
        A row a module.
    gradient_error : float
        Largest difference between dE/dw and minus the multiplier of the pinned weights, over the largest |dE/dw|.
    multipliers, adjoints : list of arrays (B, d_a)
        Of `f_a - z_a = 0`, in the Lagrangian `E + sum lam^T (f - z)`, and by backpropagation.
    gradient, gradient_multipliers : array (n,)
        dE/dw by backpropagation, and minus the multiplier of `w - w_fixed = 0`.
    solver, status, message : str
    tol : float
    stats : dict
        `layers` and `gradient`: the statistics of the two programs, see `NlpSolution.stats`; of the one program that is
        trained with bounds or constraints `layers` alone.

    Examples
    --------
    >>> check = ao.check_adjoints(problem, w)
    >>> check.modules[0].name, bool(check.modules[0].relative_error < 1e-10)
    ('1 Dense', True)
    """

    ok: bool
    max_error: float
    relative_error: float
    modules: tuple[ModuleCheck, ...]
    gradient_error: float
    multipliers: list[np.ndarray] = field(repr=False)
    adjoints: list[np.ndarray] = field(repr=False)
    gradient: np.ndarray = field(repr=False)
    gradient_multipliers: np.ndarray = field(repr=False)
    solver: str
    status: str
    message: str
    tol: float
    stats: dict[str, Any] = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write everything to a `.npz` file, or the table to a `.csv` file; whole or not at all.

        Raises
        ------
        InputError
            If the name ends in neither or the file cannot be written.
        """
        return write_csv(self, path) if is_csv(path) else write_check(self, path)

    @classmethod
    def load(cls, path: str | Path) -> AdjointCheck:
        """Read what `save` wrote to a `.npz` file.

        Raises
        ------
        InputError
            If the file is missing, truncated, of another kind, or was changed after it was written.
        """
        fields = read_check(path)
        return cls(**fields | {"modules": tuple(ModuleCheck(**row) for row in fields["modules"])})

    def _columns(self) -> Columns:
        return by_entry(multiplier=self.multipliers, adjoint=self.adjoints)

    def _variables(self) -> Variables:
        found: Variables = {
            "gradient": (("weight",), self.gradient),
            "gradient_multipliers": (("weight",), self.gradient_multipliers),
        }
        return found | features("multiplier", self.multipliers) | features("adjoint", self.adjoints)

    def _facts(self) -> dict[str, Any]:
        names = ("ok", "max_error", "relative_error", "gradient_error", "solver", "status", "message", "tol")
        return {name: getattr(self, name) for name in names}

    def table(self) -> str:
        """Return the rows as aligned text."""
        return text_table(_HEADERS, self._rows())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw |multiplier - adjoint| and |adjoint| of every module, both at their largest, on a log axis.

        What is smaller than 1e-19 of the largest adjoint, zero included, is drawn there.
        """

        from actionopt.constrained.draw_adjoints import draw_by_module

        curves = {
            "largest |adjoint|": [row.largest for row in self.modules],
            "largest |multiplier - adjoint|": [row.max_error for row in self.modules],
        }
        return draw_by_module(ax, curves, f"{self.solver}: relative error {self.relative_error:.1e}")

    def __repr__(self) -> str:
        return (
            f"AdjointCheck({'holds' if self.ok else 'FAILS'}: {len(self.modules)} modules, {self.solver}, relative "
            f"error {self.relative_error:.1e}, gradient {self.gradient_error:.1e})"
        )

    def _repr_html_(self) -> str:
        caption = f"{self.solver}: relative error {self.relative_error:.1e}, gradient {self.gradient_error:.1e}"
        return html_table(_HEADERS, self._rows(), caption)

    def _rows(self) -> list[list[Any]]:
        return [[row.name, row.size, row.largest, row.max_error, row.relative_error] for row in self.modules]


_HEADERS = ("module", "size", "largest |adjoint|", "max error", "relative error")


@takes_problem
def check_adjoints(
    problem: Problem,
    w: Any = None,
    *,
    solver: str = "ipopt",
    tol: float = 1e-8,
    max_iterations: int = 100,
    options: Mapping[str, Any] | None = None,
    throw: bool = True,
    bounds: Any = None,
    constraints: Any = (),
) -> AdjointCheck:
    """Compare the multipliers of the layer equations with the adjoints of backpropagation.

    Two square nonlinear programs are solved: one with the weights fixed and the states as variables, whose multipliers
    are the adjoints, and one with pinned weights, whose multipliers are minus the gradient.

    Parameters
    ----------
    problem : Problem
    w : array (n,), optional
        Weights; `problem.initial_weights()` where None.
    solver : str
        An NLP solver of CasADi: "ipopt", "fatrop", "sqpmethod" or any other that is installed.
    tol : float
        Largest relative error at which the check holds; the solver works a hundred times tighter.
    max_iterations : int
    options : mapping, optional
        CasADi's options for the solver.
    throw : bool
        Whether a solver that stops early raises; otherwise `ok` is False and the status says why.

    bounds, constraints
        As in `train`. With any of them the weights are free: the program is trained from `w`, and its multipliers are
        compared at its own solution, with those of the constraints as sources of the adjoints; the gradient there is
        minus the multipliers of the bounds.

    Returns
    -------
    AdjointCheck

    Raises
    ------
    InputError
        If the weights do not fit, states or adjoints overflow there, or solver or options are unknown.
    SolverError
        If a solver stops early; its `result` is the AdjointCheck at the last iterate.

    Examples
    --------
    >>> check = ao.check_adjoints(problem, w)
    >>> bool(check.ok), bool(check.relative_error < 1e-10)
    (True, True)
    """
    w = problem.check_point(problem.initial_weights() if w is None else w)
    with np.errstate(all="ignore"):
        expected = adjoints(problem, w)
    labels = list(problem.labels)
    _check_finite("state", labels, expected.states)
    _check_finite("adjoint", labels[::-1], expected.adjoints[::-1])  # in the order in which they arise
    if bounds is not None or as_list(constraints):
        task = make_task(
            problem,
            w,
            solver=solver,
            formulation="lifted",
            tol=tol,
            max_iterations=max_iterations,
            options=options,
            bounds=bounds,
            constraints=constraints,
        )
        found = _at_the_solution(task)
    else:
        settings = {"solver": solver, "tol": tol / _MARGIN, "max_iterations": max_iterations, "options": options}
        found = _at_the_weights(problem, w, expected, settings)
    check = _check(problem, found, solver, tol)
    if throw and not found.worse.success:
        raise SolverError(check.message, check)
    return check


@dataclass(frozen=True)
class _Found:
    """What is compared: multipliers with adjoints, minus the multipliers of pins or bounds with the gradient."""

    multipliers: list[np.ndarray]
    adjoints: list[np.ndarray]
    adjoint_scale: float
    pins: np.ndarray
    gradient: np.ndarray
    gradient_scale: float
    worse: NlpSolution
    stats: dict[str, Any]


def _at_the_weights(problem: Problem, w: np.ndarray, expected: Adjoints, settings: dict[str, Any]) -> _Found:
    """Solve the two square programs of fixed and of pinned weights."""
    graph, terms = SymbolicNetwork(problem), terms_at(problem, w)
    adjoint_scale = _scale(expected.adjoints, terms.slope)
    gradient_scale = _scale([expected.gradient], terms.largest)
    layers, multipliers = FixedWeights(graph, **settings).solve(w, expected.states, adjoint_scale)
    pinned, pins = PinnedWeights(graph, **settings).solve(w, gradient_scale)
    return _Found(
        multipliers=multipliers,
        adjoints=expected.adjoints,
        adjoint_scale=adjoint_scale,
        pins=pins,
        gradient=expected.gradient,
        gradient_scale=gradient_scale,
        worse=layers if not layers.success else pinned,
        stats={"layers": layers.stats, "gradient": pinned.stats},
    )


def _at_the_solution(task: TrainTask) -> _Found:
    """Train within bounds and constraints, and backpropagate at the solver's own states."""
    trained, _ = solve_casadi(task)
    assert trained.states is not None
    assert trained.multipliers is not None
    with np.errstate(all="ignore"):
        back = backpropagate(
            task.problem, trained.weights, trained.states, task.constraints, trained.constraint_multipliers
        )
    return _Found(
        multipliers=trained.multipliers,
        adjoints=back.adjoints,
        adjoint_scale=_scale(back.adjoints, task.terms.slope),
        pins=trained.bounds_multipliers,
        gradient=back.gradient,
        gradient_scale=task.scale,
        worse=trained.nlp,
        stats={"layers": trained.nlp.stats},
    )


def _check(problem: Problem, found: _Found, solver: str, tol: float) -> AdjointCheck:
    rows = _rows(problem, found.multipliers, found.adjoints, found.adjoint_scale)
    gradient_error = float(abs(found.gradient + found.pins).max(initial=0.0)) / found.gradient_scale
    relative_error = _worst(row.relative_error for row in rows)
    return AdjointCheck(
        ok=bool(found.worse.success and relative_error <= tol and gradient_error <= tol),
        max_error=_worst(row.max_error for row in rows),
        relative_error=relative_error,
        modules=rows,
        gradient_error=gradient_error,
        multipliers=found.multipliers,
        adjoints=found.adjoints,
        gradient=found.gradient,
        gradient_multipliers=-found.pins,
        solver=solver,
        status=found.worse.status,
        message=_message(found.worse, relative_error, gradient_error, tol),
        tol=tol,
        stats=found.stats,
    )


def _check_finite(kind: str, labels: Sequence[str], arrays: Sequence[np.ndarray]) -> None:
    for label, array in zip(labels, arrays, strict=True):
        if not np.isfinite(array).all():
            raise InputError(f"the {kind} of module {label} is not finite at these weights: choose smaller ones")


def _scale(arrays: Sequence[np.ndarray], terms: float) -> float:
    """Return the largest magnitude; the size of the terms where it is their rounding, 1 where all vanish."""
    size = largest(arrays)
    return size if size > ROUNDING * terms else terms or 1.0


def _worst(errors: Iterable[float]) -> float:
    """Return the largest error, NaN where one is."""
    return float(np.max(list(errors)))


def _rows(
    problem: Problem, multipliers: Sequence[np.ndarray], expected: Sequence[np.ndarray], scale: float
) -> tuple[ModuleCheck, ...]:
    rows = []
    for label, multiplier, adjoint in zip(problem.labels, multipliers, expected, strict=True):
        error = float(abs(multiplier - adjoint).max(initial=0.0))
        rows.append(ModuleCheck(label, adjoint.shape[1], float(abs(adjoint).max(initial=0.0)), error, error / scale))
    return tuple(rows)


def _message(worse: NlpSolution, relative_error: float, gradient_error: float, tol: float) -> str:
    if not worse.success:
        return worse.message
    agree = relative_error <= tol and gradient_error <= tol
    verdict = "multipliers are the adjoints" if agree else "multipliers and adjoints differ"
    return f"{verdict}: relative error {relative_error:.1e}, of the gradient {gradient_error:.1e} (tol {tol:.0e})"
