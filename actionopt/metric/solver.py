"""Solving with one block: which form, when a factorisation is worth it, and when it is made anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from actionopt.errors import SolverError
from actionopt.metric.block import Block
from actionopt.metric.conjugate import REMEDY, Factor, Iterate, conjugate_gradients
from actionopt.metric.cost import factor_cost, iteration_cost
from actionopt.metric.forms import FORMS

SOLVERS = ("auto", "primal", "dual", "cg")
REFINEMENTS = 4  # iterations that a system's own factor may take
ITERATIONS = 2000  # of conjugate gradients alone
USELESS = 1e-2  # bound on the error of a direct solution above which it is not returned
RECALLED = 4  # solutions of earlier steps that span the first guess
STEPS_SERVED = 3  # steps of a trajectory that a factorisation is taken to serve, at least
PER_DIGIT = 4  # iterations a digit that must be cheaper than a factorisation for conjugate gradients to be tried


@dataclass(frozen=True)
class Held:
    """What a solver leaves to the one at the next point of a trajectory.

    Attributes
    ----------
    form, size : str, int
        The form it solved, and of how many unknowns.
    starts : tuple of arrays
        Solutions of the last systems, the latest last.
    factor : Factor or None
        The last factorisation, maybe older than the solver.
    spent : float
        Cost since then, that of the factorisation included.
    steps : int
        Solvers since then.
    """

    form: str
    size: int
    starts: tuple[np.ndarray, ...]
    factor: Factor | None
    spent: float
    steps: int


class BlockSolver:
    """Solves `G x = c` for one block.

    Parameters
    ----------
    block : Block
    solve : "auto", "primal", "dual" or "cg"
        "primal" and "dual" factorise the matrix of that form. "cg" never forms one. "auto" takes the form that is
        cheaper to factorise and iterates until that would have cost more than the factorisation, which it then makes:
        never more than twice the cost of the better of both.
    tol : float
        Bound on the relative error of a solution in the norm of the mass.
    held : Held, optional
        What the solver at the last point left: its factorisation preconditions, until an iteration costs more than
        a step has cost on average since that factorisation; then it is made anew.

    Attributes
    ----------
    iterations : int
        Of the last solution.
    """

    def __init__(self, block: Block, solve: str, tol: float, held: Held | None = None) -> None:
        self.block = block
        self.method = solve
        self.tol = tol
        self.iterations = 0
        name, self.price = _form(block, solve)
        self.form = FORMS[name](block)
        fits = held is not None and (held.form, held.size) == (name, self.form.size)
        self.held = held if fits else None
        self.starts = self.held.starts if self.held else ()
        self.own: Factor | None = None
        self.spent = 0.0
        self.first: np.ndarray | None = None
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def name(self) -> str:
        """How the last solution was found: "primal", "dual", "cg", or "cg, held primal" or "cg, held dual"."""
        if self.own is not None:
            return self.form.name
        return f"cg, held {self.form.name}" if self.held and self.held.factor else "cg"

    def solve(self, c: np.ndarray) -> np.ndarray:
        """Return `G^{-1} c (size,)`.

        Raises
        ------
        SolverError
            If conjugate gradients do not converge or a factorisation fails; the message names block and remedy.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named
            return self._solve(c / self.block.root) / self.block.root

    def _solve(self, scaled: np.ndarray) -> np.ndarray:
        x = self._scaled(scaled)
        for _ in range(REFINEMENTS):
            # the dual form recovers x as a difference: where that cancels, its residual is solved for in turn
            if np.finfo(float).eps * _norm(scaled) <= 0.1 * self.tol * _norm(x):
                break
            residual = scaled - x - self.block.pull(self.block.push(x))
            if _norm(residual) <= self.tol * _norm(x):
                break
            x = x + self._scaled(residual)
        if not np.isfinite(x).all():
            raise SolverError(f"{self.block.label}: the solution is not finite; {REMEDY}")
        self._last = scaled, x
        return x

    def factorise(self) -> Factor:
        """Return the factor of the block's own system, made on first use."""
        if self.own is None:
            self.own = Factor(self.form)
            self.spent += self.price
        return self.own

    def leave(self) -> Held:
        """Return what the solver at the next point of a trajectory takes over."""
        starts = self.starts if self.first is None else (*self.starts, self.first)[-RECALLED:]
        if self.own is not None:
            return Held(self.form.name, self.form.size, starts, self.own, self.price, 1)
        spent, steps = (self.held.spent, self.held.steps) if self.held else (0.0, 0)
        factor = self.held.factor if self.held else None
        return Held(self.form.name, self.form.size, starts, factor, spent + self.spent, steps + 1)

    @property
    def logdet(self) -> float:
        """Logarithm of the determinant of G."""
        return self.factorise().logdet + 2.0 * float(np.log(self.block.root).sum())

    @property
    def residual(self) -> float:
        """`|c - G x| / |c|` of the last solution, in the norm of the inverse mass; NaN before there is one."""
        if self._last is None:
            return np.nan
        c, x = self._last
        return _norm(c - x - self.block.pull(self.block.push(x))) / max(_norm(c), np.finfo(float).tiny)

    @property
    def condition(self) -> float:
        """Bound on the condition number of `D^{-1/2} G D^{-1/2}`: its largest eigenvalue, to two digits."""
        size = self.form.size
        if size < 3:
            return float(np.linalg.eigvalsh(self.form.matrix())[-1])
        operator = LinearOperator((size, size), matvec=lambda y: self.form.apply(y.ravel()), dtype=float)
        first = np.random.default_rng(0).standard_normal(size)
        return float(eigsh(operator, k=1, tol=1e-2, v0=first, return_eigenvectors=False)[0])

    def _scaled(self, c: np.ndarray) -> np.ndarray:
        b, cc = self.form.lift(c), float(c @ c)
        found = self._iterate(b, cc)
        if found is None:
            found = conjugate_gradients(self.form, b, cc, tol=self.tol, limit=REFINEMENTS, factor=self.factorise())
            self.iterations = found.iterations
            if not found.error <= USELESS:
                raise SolverError(
                    f"{self.block.label}: its metric is too ill-conditioned, the {self.form.name} solution has a "
                    f"relative error of up to {found.error:.1e}; {REMEDY}"
                )
        if self.first is None:
            self.first = found.y
        return self.form.recover(c, found.y)

    def _iterate(self, b: np.ndarray, cc: float) -> Iterate | None:
        """Solve without a factorisation of this system; None where one is worth making."""
        if self.own is not None:
            return None
        factor = self.held.factor if self.held else None
        limit = self._limit(factor)
        if limit <= 0:
            return None
        starts = self.starts if self.first is None else ()  # later right-hand sides are others
        found = conjugate_gradients(
            self.form,
            b,
            cc,
            tol=self.tol,
            limit=limit,
            patient=self.method == "cg",
            factor=factor,
            starts=starts,
        )
        self.iterations = found.iterations
        self.spent += found.iterations * self._iteration_price(factor) + len(starts) * self._iteration_price(None)
        if found.converged:
            return found
        if self.method == "cg":
            raise SolverError(
                f"{self.block.label}: conjugate gradients reached a relative error of {found.error:.1e} in "
                f"{found.iterations} iterations, not {self.tol:.1e}; use solve='dual' or 'primal', or a larger mass"
            )
        return None

    def _limit(self, factor: Factor | None) -> float:
        """How many iterations are worth trying."""
        if self.method == "cg":
            return ITERATIONS
        price = self._iteration_price(factor)
        if factor is not None and self.held is not None:
            return min(self.price - self.spent, self.held.spent / self.held.steps) / price
        # along a trajectory a factorisation serves more than one step
        allowance = (self.price if self.held is None else self.price / STEPS_SERVED) - self.spent
        needed = -PER_DIGIT * np.log10(self.tol)
        return allowance / price if self.method == "auto" and needed * price < allowance else 0.0

    def _iteration_price(self, factor: Factor | None) -> float:
        return iteration_cost(self.block, self.form.name, factor is not None)


def _form(block: Block, solve: str) -> tuple[str, float]:
    """Choose the form, and say what its factorisation costs."""
    if solve == "cg":
        solve = "dual" if block.rank <= block.size else "primal"
    if solve in FORMS:
        return solve, factor_cost(block, solve)
    cost, form = min((factor_cost(block, form), form) for form in ("dual", "primal"))
    return form, cost


def _norm(x: np.ndarray) -> float:
    return float(np.sqrt(x @ x))
