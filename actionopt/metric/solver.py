"""Solving with one block: which form, when a factorisation is worth it, and when it is made anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from actionopt.errors import SolverError
from actionopt.memory import check_memory
from actionopt.metric.block import Block
from actionopt.metric.conjugate import REMEDY, Factor, Iterate, conjugate_gradients
from actionopt.metric.cost import factor_cost, iteration_cost
from actionopt.metric.forms import FORMS
from actionopt.metric.singular import NUMBERS, solve_singular
from actionopt.metric.source import Along, Source

SOLVERS = ("auto", "primal", "dual", "cg")
REFINEMENTS = 4  # iterations that a system's own factor may take, and corrections of a solution
ITERATIONS = 2000  # of conjugate gradients alone
USELESS = 1e-2  # bound on the error of a direct solution above which it is not refined
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
    accept : float, optional
        Error up to which a solution is returned though it misses `tol`, as rounding at a tiny mass makes it; `tol`
        where None.
    held : Held, optional
        What the solver at the last point left: its factorisation preconditions, until an iteration costs more than
        a step has cost on average since that factorisation; then it is made anew.

    Attributes
    ----------
    iterations : int
        Of the last solution.
    error : float
        Of the last solution, relative: the bound that its residual gives, or the size of its last correction.
    """

    def __init__(
        self, block: Block, solve: str, tol: float, held: Held | None = None, *, accept: float | None = None
    ) -> None:
        self.block = block
        self.method = solve
        self.tol = tol
        self.accept = tol if accept is None else max(accept, tol)
        self.iterations = 0
        self.error = np.nan
        self._by = ""
        name, self.price = _form(block, solve)
        self.form = FORMS[name](block)
        fits = held is not None and (held.form, held.size) == (name, self.form.size)
        self.held = held if fits else None
        self.starts = self.held.starts if self.held else ()
        self.own: Factor | None = None
        self.spent = 0.0
        self._prices: dict[bool, float] = {}
        self.first: np.ndarray | None = None
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def name(self) -> str:
        """How the last solution was found: "primal", "dual", "cg", "cg, held ..." of either, or "singular values"."""
        if self._by:
            return self._by
        if self.own is not None:
            return self.form.name
        return f"cg, held {self.form.name}" if self.held and self.held.factor else "cg"

    def solve(self, c: np.ndarray) -> np.ndarray:
        """Return `G^{-1} c (size,)`.

        Raises
        ------
        SolverError
            If the solution is not exact to `tol`, through singular values neither; the message names block and remedy.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named
            scaled = c / self.block.root
            x = self._exact(scaled)
        self._last = scaled, x
        return x / self.block.root

    def solve_along(self, source: Source) -> Along | None:
        """Return `G^{-1}` times a source, and what it does; by products over samples where the form is the dual one.

        None where rounding, in the precision of the block's rows, could reach a tenth of the tolerance.
        """
        dual, root = self.form.name == "dual", self.block.root
        b = source.lifted if dual else source.vector
        found = self._system(b.ravel(), source.square)
        if dual:
            y = found.y.reshape(b.shape)
            along = source.recovered(y, y + found.residual.reshape(b.shape))
        else:
            along = source.along(found.y.astype(root.dtype, copy=False))
        size, moved = _norm(along.x), _norm(along.moved.ravel())
        # rows that are off by a rounding e move x by e |K| (|x| / 2 + |K x|) at most; c~ and the recursion round too
        blurred = np.sqrt(self.block.square) * (0.5 * size + moved) + np.sqrt(source.square)
        blurred += (1.0 + found.iterations) * _norm(b.ravel())
        if not (found.error <= self.tol and float(np.finfo(root.dtype).eps) * blurred <= 0.1 * self.tol * size):
            return None
        self.error, self._by, self._last = found.error, "", None
        return along._replace(x=along.x / root)

    def solve_explicitly(self, source: Source) -> Along:
        """Return the same by `solve`, whose solutions are exact to the tolerance or refused."""
        with np.errstate(over="ignore", invalid="ignore"):
            x = self.solve(self.block.root * source.vector)
            return source.along(self.block.root * x)._replace(x=x)

    def _exact(self, scaled: np.ndarray) -> np.ndarray:
        """Solve in scaled coordinates, by the chosen form and, where that misses `tol`, by singular values."""
        self._by = ""
        try:
            x = self._refined(scaled)
        except SolverError:
            if self.method == "cg" or not self._may_decompose:
                raise
            x = None
        if x is None and self._may_decompose:
            x, self.error = solve_singular(self.block, scaled)
            self.iterations, self._by = 0, "singular values"
        if x is None or not self.error <= self.accept:
            raise SolverError(
                f"{self.block.label}: its metric is too ill-conditioned for double precision, a solution is exact to "
                f"{self.error:.1e} and not to tol = {self.tol:.1e}; {REMEDY}, or ask for a larger tol"
            )
        return x

    @property
    def _may_decompose(self) -> bool:
        block = self.block
        return block.size * block.rank <= NUMBERS and bool(np.isfinite(block.square))

    def _refined(self, scaled: np.ndarray) -> np.ndarray | None:
        """Solve, and correct the solution until it is exact to `tol`; None where rounding does not let it.

        The residual bounds the error, as no eigenvalue is below one. Where all are large that is pessimistic, and the
        size of the last correction tells, as long as a correction has correct digits itself.
        """
        x, self.error = self._scaled(scaled)
        rounding = np.finfo(float).eps * (1.0 + self.block.square)  # of the block's products, relative
        if self.error <= self.tol and rounding <= 0.1 * self.tol:
            return x
        for _ in range(REFINEMENTS):
            residual = scaled - x - self.block.pull(self.block.push(x))
            bound = _ratio(residual, x)
            if bound <= self.tol:
                self.error = bound
                return x
            if not rounding <= USELESS:
                return None
            correction, _ = self._scaled(residual)
            x = x + correction
            self.error = _ratio(correction, x)
            if not np.isfinite(self.error):
                raise SolverError(f"{self.block.label}: the solution is not finite; {REMEDY}")
            if self.error <= self.tol:
                return x
        return x if self.error <= self.accept else None

    def factorise(self) -> Factor:
        """Return the factor of the block's own system, made on first use."""
        if self.own is None:
            what = f"{self.block.label}: the {self.form.name} matrix"
            check_memory(what, float(self.form.size) ** 2, "use solve='cg' or solve='auto', or fewer samples")
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
        """`|c - G x| / |x|` of the last solution, in the norms of inverse mass and mass; NaN before there is one.

        It bounds the relative error.
        """
        if self._last is None:
            return np.nan
        c, x = self._last
        return _ratio(c - x - self.block.pull(self.block.push(x)), x)

    @property
    def condition(self) -> float:
        """Bound on the condition number of `D^{-1/2} G D^{-1/2}`: its largest eigenvalue, to two digits."""
        size = self.form.size
        if size < 3:
            return float(np.linalg.eigvalsh(self.form.matrix())[-1])
        operator = LinearOperator((size, size), matvec=lambda y: self.form.apply(y.ravel()), dtype=float)
        first = np.random.default_rng(0).standard_normal(size)
        return float(eigsh(operator, k=1, tol=1e-2, v0=first, return_eigenvectors=False)[0])

    def _scaled(self, c: np.ndarray) -> tuple[np.ndarray, float]:
        """Return a solution, and the bound on its relative error that the form's own recursion gives."""
        found = self._system(self.form.lift(c), float(c @ c))
        return self.form.recover(c, found.y), found.error

    def _system(self, b: np.ndarray, cc: float) -> Iterate:
        """Solve the form's own system: iterating alone, or with a factorisation."""
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
        return found

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
        held = factor is not None
        if held not in self._prices:
            self._prices[held] = iteration_cost(self.block, self.form.name, held)
        return self._prices[held]


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


def _ratio(x: np.ndarray, y: np.ndarray) -> float:
    """Return `|x| / |y|`, zero where both are."""
    above, below = _norm(x), _norm(y)
    if above == 0.0:
        return 0.0
    return above / below if below > 0.0 else np.inf
