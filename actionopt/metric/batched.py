"""The metric at every node of a trajectory, factorised once and solved with many times."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from actionopt.arrays import real_array
from actionopt.backprop import forward_pass
from actionopt.errors import InputError, SolverError
from actionopt.metric.block import Block
from actionopt.metric.kinds import METRICS, Kind, kind_of
from actionopt.metric.solver import BlockSolver
from actionopt.problem import Problem, check_problem

__all__ = ["METRICS", "BatchedMetric"]

REFINE = 1e5  # condition estimate above which a solution is refined once
STACK_WORK = 2e7  # flops of a node's factorisation below which all nodes at once are faster than node by node
STACK_NUMBERS = 3e7  # numbers that a stack may hold
ROOM_NUMBERS = 1e5  # the same where points may be taken in several stacks: larger arrays come with page faults
TOLERANCE = 1e-12  # of solutions node by node
ACCEPTED = 1e-6  # error up to which rounding at a tiny mass is taken: the trajectory's own residual tells


class BatchedMetric:
    """G(w) at every node `w (..., n)`.

    Parameters
    ----------
    problem : Problem
    w : array (..., n)
        The nodes.
    metric : "layerwise", "joint" or "euclidean"
        Block diagonal over modules, all modules at once, or the mass alone.

    Attributes
    ----------
    blocks : list
        At all nodes; empty where G is the mass alone.

    Raises
    ------
    InputError
        If there is no metric of that name or the output metric is wrong.

    Notes
    -----
    A block of n_a weights and r rows is kept as the stack of its inverses where n_a <= 2 r, else as the stack of
    `U = C^{-1} K D^{-1/2}`, C the Cholesky factor of `I + K D^{-1} K^T`, with which
    `G^{-1} = D^{-1/2} (I - U^T U) D^{-1/2}`. So a solve is one or two products a block over all nodes at once.
    Large blocks are solved node by node, as `LayerMetric` does it.
    At a node where the chain overflows the products and solutions are NaN: a trajectory solver rejects such a trial.

    Examples
    --------
    >>> points = np.stack([w, 2 * w])
    >>> ao.BatchedMetric(problem, points).solve(problem.gradient(points)).shape
    (2, 17)
    """

    def __init__(self, problem: Problem, w: Any, metric: str = "layerwise") -> None:
        check_problem("BatchedMetric", problem)
        kind = kind_of(metric)
        self.name, self.metric = problem.name, metric
        self.w = real_array("w", w)
        if self.w.shape[-1:] != (problem.size,):
            raise InputError(f"w must have shape (..., {problem.size}), one point a node, got {self.w.shape}")
        self.mass = problem.mass
        nodes = self.w.reshape(-1, problem.size)
        self.blocks: list[_Stack | _Singly] = []
        if not kind.constant(problem):
            with np.errstate(all="ignore"):
                blocks = kind.blocks(problem, forward_pass(problem, nodes), check=False)
                self.blocks = [_all_nodes(block, len(nodes)) for block in blocks if block.rank]

    def __repr__(self) -> str:
        return f"BatchedMetric({self.name!r}: {self.metric}, {len(self.mass)} weights, at w {self.w.shape})"

    def product(self, v: np.ndarray) -> np.ndarray:
        """Return `G v`: v has the axes of w, or more in front."""
        return self._apply("product", v, self.mass)

    def solve(self, c: np.ndarray) -> np.ndarray:
        """Return `G^{-1} c`: c has the axes of w, or more in front."""
        return self._apply("solve", c, 1.0 / self.mass)

    def _apply(self, method: str, x: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        out = otherwise * x
        if self.blocks:
            nodes, n = int(np.prod(self.w.shape[:-1])), self.w.shape[-1]
            columns = np.broadcast_to(x, np.broadcast_shapes(x.shape, self.w.shape)).reshape(-1, nodes, n)
            columns = columns.transpose(1, 2, 0)
            flat = out.reshape(-1, nodes, n)
            for block in self.blocks:
                flat[..., block.weights] = getattr(block, method)(columns[:, block.weights]).transpose(2, 0, 1)
        return out


def room(problem: Problem, kind: Kind) -> int:
    """Return how many points a stack of matrices should hold; 0 where a block of the metric is too large for one."""
    if kind.constant(problem):
        return max(1, int(ROOM_NUMBERS / problem.numbers))
    rank = problem.samples * sum(problem.nodes[term.node].size for term in problem.costs)
    held = float(problem.numbers)
    for cut in kind.cuts(problem):
        small, large = sorted((cut.stop - cut.start, rank))
        if small * small * large > STACK_WORK:
            return 0
        held = max(held, small * large)
    return max(1, int(ROOM_NUMBERS / held))


def _all_nodes(block: Block, nodes: int) -> _Stack | _Singly:
    small, large = sorted((block.size, block.rank))
    if small * small * large <= STACK_WORK and nodes * small * large <= STACK_NUMBERS:
        try:
            return _Stack(block, nodes)
        except np.linalg.LinAlgError:  # some node's numbers are too large: it is found, and marked, node by node
            pass
    return _Singly(block, nodes)


class _Singly:
    """One block at all nodes, node by node; vectors are columns `(N, size, T)`."""

    def __init__(self, block: Block, nodes: int) -> None:
        self.weights = block.weights
        self.solvers = [BlockSolver(block.at(node), "auto", TOLERANCE, accept=ACCEPTED) for node in range(nodes)]

    def product(self, v: np.ndarray) -> np.ndarray:
        products = [solver.block.product(columns.T).T for solver, columns in zip(self.solvers, v, strict=True)]
        return np.stack(products)

    def solve(self, c: np.ndarray) -> np.ndarray:
        return np.stack([solve_columns(solver, columns) for solver, columns in zip(self.solvers, c, strict=True)])


class _Stack:
    """One block at all nodes; vectors are columns `(N, size, T)`."""

    def __init__(self, block: Block, nodes: int) -> None:
        self.weights = block.weights
        self.block, self.nodes = block, nodes
        self.root = block.root[:, None]
        self.normal = self._where_finite(block.normal()) if block.size <= block.rank else None
        if self.normal is None:
            squares = np.square(self.rows).sum(axis=(-1, -2))
        else:
            squares = np.trace(self.normal, axis1=-2, axis2=-1)
        self.ill = 1.0 + squares > REFINE
        self.inverse, self.update = self._factorise(block.size, block.rank)

    @cached_property
    def rows(self) -> np.ndarray:
        """K at every node, `(N, r, size)`."""
        return self._where_finite(self.block.matrix())

    def _where_finite(self, matrices: np.ndarray) -> np.ndarray:
        """Return a matrix for each node, zeros where it is not finite, which `finite` notes."""
        matrices = np.broadcast_to(matrices, (self.nodes, *matrices.shape[-2:]))
        self.finite = np.isfinite(matrices).all(axis=(-1, -2))
        return matrices if self.finite.all() else np.where(self.finite[:, None, None], matrices, 0.0)

    def _factorise(self, size: int, rank: int) -> tuple[Any, np.ndarray | None]:
        if self.normal is not None:
            return np.linalg.inv(np.eye(size) + self.normal), None
        lower = np.linalg.cholesky(np.eye(rank) + self.rows @ self.rows.swapaxes(-1, -2))
        update = np.linalg.inv(lower) @ self.rows
        if size <= 2 * rank:
            return np.eye(size) - update.swapaxes(-1, -2) @ update, None
        return None, update

    def product(self, v: np.ndarray) -> np.ndarray:
        return self._mark(self.root * self._scaled_product(self.root * v))

    def solve(self, c: np.ndarray) -> np.ndarray:
        c = c / self.root
        x = self._scaled_solve(c)
        if self.ill.any():  # and there alone: no node's solution depends on who stands beside it
            correction = self._scaled_solve(c - self._scaled_product(x)) * self.ill[:, None, None]
            x = x + correction
            moved, size = (np.square(v).sum(axis=1) for v in (correction, x))
            rough = ~(moved <= ACCEPTED**2 * size).all(axis=-1)
            self._solve_again(x, c, np.flatnonzero(self.finite & rough))
        return self._mark(x / self.root)

    def _solve_again(self, x: np.ndarray, c: np.ndarray, nodes: np.ndarray) -> None:
        """Replace the solutions at nodes whose correction was large, by a solver that knows what rounding allows."""
        for node in nodes:
            solver = BlockSolver(self.block.at(node), "auto", TOLERANCE, accept=ACCEPTED)
            x[node] = solve_columns(solver, self.root * c[node]) * self.root

    def _scaled_product(self, v: np.ndarray) -> np.ndarray:
        if self.normal is not None and not self.ill.any():
            return v + self.normal @ v
        # where K^T K is large, through K: small products of it keep the digits that refinement needs
        return v + self.rows.swapaxes(-1, -2) @ (self.rows @ v)

    def _scaled_solve(self, c: np.ndarray) -> np.ndarray:
        if self.update is None:
            return self.inverse @ c
        return c - self.update.swapaxes(-1, -2) @ (self.update @ c)

    def _mark(self, x: np.ndarray) -> np.ndarray:
        return x if self.finite.all() else np.where(self.finite[:, None, None], x, np.nan)


def solve_columns(solver: BlockSolver, columns: np.ndarray) -> np.ndarray:
    """Solve for every column of `columns (size, T)`; NaN where rounding leaves too little of a solution."""
    try:
        with np.errstate(all="ignore"):
            return np.stack([solver.solve(column) for column in columns.T], axis=1)
    except SolverError:
        return np.full_like(columns, np.nan)
