"""The layerwise metric at one point, as a linear operator that is also inverted."""

from __future__ import annotations

import numbers
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from actionopt.arrays import real_array
from actionopt.backprop import ForwardPass, adjoints_of, forward_pass
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.memory import check_memory
from actionopt.metric.block import Block, metric_blocks
from actionopt.metric.output_factor import output_factor
from actionopt.metric.report import MetricReport, ReportRow
from actionopt.metric.rows import to_rows
from actionopt.metric.solver import SOLVERS, BlockSolver, Held
from actionopt.ops import NUMPY, duals_over
from actionopt.problem import Problem, check_problem


class Direction(NamedTuple):
    """A direction `x (n,)`, `slope = g . x`, and `change = |J x|^2`, mean square change of the outputs along it."""

    x: np.ndarray
    slope: float
    change: float


class LayerMetric(LinearOperator):  # type: ignore[misc]  # SciPy is not typed
    """The metric `G_a = D_a + 1/B sum_b K_ab^T K_ab` of every module, with K_a = S_a B_a from the output back.

    Parameters
    ----------
    problem : Problem
        Its `mass` is D, its `output_metric` starts the recursion.
    w : array (n,)
        Weights.
    joint : bool
        One metric over all modules, with the blocks between them: the damped natural gradient. Without it G is block
        diagonal.
    solve : "auto", "primal", "dual" or "cg"
        How a block of n_a weights and r = m B rows is inverted: by factorising a matrix n_a x n_a, by the Woodbury
        identity with one r x r, or by conjugate gradients on neither; "auto" chooses by a cost model.
    tol : float
        Bound on the relative error of solutions in the norm of the mass, |x|^2 = x^T D x.
    after : LayerMetric, optional
        The metric at a nearby point, whose factorisations precondition the solves here until they wear out. Solutions
        keep to `tol`. Of other data than the problem's nothing is taken over: their factorisations would cost more
        than they save.

    Attributes
    ----------
    solvers : tuple of BlockSolver
        How each block is solved with.
    blocks : tuple of Block
        A block a module that has weights, or one for all: `.label`, `.weights`, `.size`, `.rank`, `.dense()`.

    Raises
    ------
    InputError
        If the weights are not `(n,)` and finite, an option is unknown, a module's output is not finite, or the output
        metric has the wrong shape or is not positive semidefinite.

    Notes
    -----
    For one sample this is the paper's recursion (arXiv:2603.03610); the mean over the batch is the pullback of the
    batch-mean output metric **[ours]**. The mass has the scale of the mean loss: its meaning does not change with B.

    Examples
    --------
    >>> metric = ao.LayerMetric(problem, w)
    >>> w = w - 0.1 * metric.solve(metric.gradient)
    >>> metric = ao.LayerMetric(problem, w, after=metric)
    """

    problem: Problem
    w: np.ndarray
    joint: bool
    blocks: tuple[Block, ...]
    solvers: tuple[BlockSolver, ...]
    _passed: ForwardPass

    def __init__(
        self,
        problem: Problem,
        w: Any,
        *,
        joint: bool = False,
        solve: str = "auto",
        tol: float = 1e-10,
        after: LayerMetric | None = None,
    ) -> None:
        check_problem("LayerMetric", problem)
        super().__init__(np.dtype(float), (problem.size, problem.size))
        check_options(solve, tol)
        self.problem = problem
        self.w = problem.check_point(w).copy()
        self.joint = bool(joint)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named below
            self._passed = forward_pass(problem, self.w)
            self.blocks = tuple(metric_blocks(problem, self._passed, joint=self.joint))
        held = {} if after is None else _held(problem, after)
        self.solvers = tuple(
            BlockSolver(block, solve, float(tol), held.get(block.label)) for block in self.blocks if block.rank
        )

    def solve(self, c: Any) -> np.ndarray:
        """Return `G^{-1} c` for `c (n,)`, or for every column of `c (n, k)`.

        Raises
        ------
        InputError
            If c has the wrong length or is not finite.
        SolverError
            If a solution is not exact to `tol`, as rounding has it at a tiny mass, or conjugate gradients do not
            converge; the message names module and remedy.
        """
        c = _vectors(c, self.shape[0])
        if c.ndim == 2:
            return np.stack([self.solve(column) for column in c.T], axis=1) if c.size else c
        x = c / self.problem.mass
        for solver in self.solvers:
            x[solver.block.weights] = solver.solve(c[solver.block.weights])
        return x

    def solve_gradient(self, v: np.ndarray | None = None) -> Direction:
        """Return `x = G^{-1} (g + D v)` and what a step along x does.

        Parameters
        ----------
        v : array (n,), optional
            Zero where None.

        Raises
        ------
        InputError, SolverError
            As `gradient` and `solve`.
        """
        g = self.gradient
        x = self.solve(g if v is None else g + self.problem.mass * v)
        return Direction(x, float(g @ x), self.change(x))

    @cached_property
    def gradient(self) -> np.ndarray:
        """`dE/dw (n,)` at the same weights, from the same forward pass.

        Raises
        ------
        InputError
            If it is not finite.
        """
        return finite_gradient(self.problem, self._passed)

    @property
    def states(self) -> list[np.ndarray]:
        """States of all nodes of the network at these weights, data first."""
        return self._passed.states

    def change(self, d: Any) -> float:
        """Return `|J d|^2`, the mean over samples of the square of the outputs' change along `d (n,)`.

        In the output metric, to first order; the layers' changes add up before they are squared, `J d = sum_a K_a d_a`.
        """
        d = _vectors(d, self.shape[0])
        if len(self.problem.costs) > 1:  # whose rows the groups have each their own part of
            return self._change_of_costs(d)
        moved = [block.push(block.root * d[block.weights]) for block in self.blocks if block.rank]
        total = sum(moved[1:], start=moved[0]) if moved else np.zeros(0)
        return float(np.vdot(total, total))

    def _change_of_costs(self, d: np.ndarray) -> float:
        """Return `|J d|^2` by pushing d through the whole network."""
        problem, duals, total = self.problem, duals_over(NUMPY), 0.0
        states = problem.network.forward(duals, problem.network.split(duals, duals.dual(self.w, d)))
        for j, term in enumerate(problem.costs):
            tangent = duals.parts(states[term.node])[1]
            if tangent is not None and term.weight:
                moved = to_rows(output_factor(problem, self.states[term.node], j), tangent)
                total += float(np.vdot(moved, moved))
        return total / problem.samples

    def curvature(self, d: Any) -> float:
        """Return `|J d|^2 + d . D d`, the second derivative of the joint model of the energy along `d (n,)`.

        It is `d . G d` of the joint metric, whichever this one is.
        """
        d = _vectors(d, self.shape[0])
        return self.change(d) + float(d @ (self.problem.mass * d))

    @property
    def inverse(self) -> LinearOperator:
        """`G^{-1}` as a linear operator: the preconditioner for SciPy's solvers."""
        return LinearOperator(self.shape, matvec=self.solve, rmatvec=self.solve, matmat=self.solve, dtype=self.dtype)

    def dense(self) -> np.ndarray:
        """Return G as an array `(n, n)`."""
        check_memory("the dense metric", float(self.shape[0]) ** 2, "use metric @ v, or metric.blocks")
        dense = np.diag(self.problem.mass)
        for block in self.blocks:
            dense[block.weights, block.weights] = block.dense()
        return dense

    def inner(self, u: Any, v: Any) -> float:
        """Return `u^T G v`."""
        return float(_vectors(u, self.shape[0]) @ (self @ v))

    def norm(self, v: Any) -> float:
        """Return `sqrt(v^T G v)`."""
        return float(np.sqrt(self.inner(v, v)))

    def logdet(self) -> float:
        """Return the logarithm of the determinant of G; factorises every block."""
        covered = np.zeros(self.shape[0], dtype=bool)
        for solver in self.solvers:
            covered[solver.block.weights] = True
        return float(np.log(self.problem.mass[~covered]).sum()) + sum(solver.logdet for solver in self.solvers)

    @property
    def report(self) -> MetricReport:
        """Say for every block how large it is and how the last vector was solved with, a random one if none was.

        Returns
        -------
        MetricReport
            `.rows` with `module`, `size`, `rank`, `solver`, `iterations`, `residual`, `error`, `condition`; prints as
            a table.
        """
        rows = []
        for solver in self.solvers:
            if np.isnan(solver.residual):
                solver.solve(np.random.default_rng(0).standard_normal(solver.block.size))
            block = solver.block
            rows.append(
                ReportRow(
                    block.label,
                    block.size,
                    block.rank,
                    solver.name,
                    solver.iterations,
                    solver.residual,
                    solver.error,
                    solver.condition,
                )
            )
        return MetricReport("joint" if self.joint else "layerwise", tuple(rows))

    def plot(self, ax: Any = None) -> Any:
        """Draw the eigenvalues of every block, largest first, over the mass; returns the axes.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure where None.
        """
        from actionopt.metric.figure import draw_spectrum

        return draw_spectrum(self.blocks, ax)

    def __repr__(self) -> str:
        kind = "joint" if self.joint else "layerwise"
        return f"LayerMetric({self.problem.name!r}: {kind}, {self.shape[0]} weights, {len(self.blocks)} blocks)"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        v = np.asarray(v, dtype=float).reshape(-1)
        out = self.problem.mass * v
        for block in self.blocks:
            out[block.weights] = block.product(v[block.weights])
        return out

    def _matmat(self, v: np.ndarray) -> np.ndarray:
        rows = np.asarray(v, dtype=float).T
        out = self.problem.mass * rows
        for block in self.blocks:
            out[:, block.weights] = block.product(rows[:, block.weights])
        return out.T

    def _adjoint(self) -> LayerMetric:
        return self

    _transpose = _adjoint


def _held(problem: Problem, after: LayerMetric) -> dict[str, Held]:
    """Return what the solvers of an earlier metric leave, by block; nothing if its data are not the problem's."""
    if after.problem is not problem:
        ours, theirs = problem.network, after.problem.network
        pairs = zip((*ours.data, *ours.targets), (*theirs.data, *theirs.targets), strict=False)
        if ours.samples != theirs.samples or not all(a is b or np.array_equal(a, b) for a, b in pairs):
            return {}
    return {solver.block.label: solver.leave() for solver in after.solvers}


def check_options(solve: Any, tol: Any) -> None:
    """Raise InputError where there is no such solver, or the tolerance is out of range."""
    if not is_name(solve, SOLVERS):
        raise unknown_name("solve", solve, SOLVERS)
    if not isinstance(tol, numbers.Real) or not 0.0 < float(tol) < 1.0:
        raise InputError(f"tol must be a number between 0 and 1, got {tol!r}")


def _vectors(values: Any, size: int) -> np.ndarray:
    array = real_array("vectors", values, f"{size} numbers")
    if array.ndim not in (1, 2) or array.shape[0] != size:
        raise InputError(f"vectors must have shape ({size},) or ({size}, k), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"vectors must be finite, got {array[~np.isfinite(array)][0]}")
    return array


def finite_gradient(problem: Problem, passed: ForwardPass) -> np.ndarray:
    """Return `dE/dw (n,)` from a forward pass; raise InputError where it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = adjoints_of(problem, passed).gradient
    if not np.isfinite(gradient).all():
        raise InputError("the gradient is not finite at these weights; take a smaller step or a larger mass")
    return gradient
