"""The bare work of a metric step: its matrix products and factorisations, without anything around them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import lapack

import actionopt as ao
from actionopt.metric.dense_rows import DenseRows
from actionopt.metric.solver import BlockSolver


def floor(problem: ao.Problem, metric: ao.LayerMetric) -> Callable[[], None]:
    """Return a function that does for dense layers what the metric's solvers last did, in bare NumPy and LAPACK.

    Forward and backward products, the recursion, and for each layer the products of its iterations, or the Gram and
    its factorisation. No activations, no output factor, no vector updates, no checks.
    """
    works = [_layer(solver, first=index == 0) for index, solver in enumerate(metric.solvers)]

    def work() -> None:
        for layer in works:
            layer()

    return work


def _layer(solver: BlockSolver, first: bool) -> Callable[[], None]:
    (rows,) = solver.block.rows
    assert isinstance(rows, DenseRows)
    delta, z = rows.delta, rows.z
    m, samples, out = delta.shape
    flat, matrix = delta.reshape(m * samples, out), np.ones((out, z.shape[1]))
    adjoint, c = np.ones((samples, out)), np.ones((m, samples))

    def gradient_and_recursion() -> None:
        z @ matrix.T
        adjoint.T @ z
        if not first:
            adjoint @ matrix
            delta @ matrix

    def push_and_pull() -> None:
        np.einsum("ibo,bo->ib", delta, z @ matrix.T)
        np.einsum("ibo,ib->bo", delta, c).T @ z

    def iterations() -> None:
        inputs = z @ z.T
        for _ in range(solver.iterations):
            np.einsum("ibo,bo->ib", delta, inputs @ np.einsum("ibo,ib->bo", delta, c))

    def primal_iterations() -> None:
        for _ in range(solver.iterations):
            push_and_pull()

    def dual() -> None:
        gram = flat @ flat.T
        gram.reshape(m, samples, m, samples)[...] *= (z @ z.T)[:, None, :]
        _factor_and_solve(gram)

    def primal() -> None:
        pairs = np.triu_indices(z.shape[1] + 1)
        inputs = np.concatenate([z, np.ones((samples, 1))], axis=1)
        outputs = np.einsum("ibj,ibk->jkb", delta, delta)[np.triu_indices(out)]
        outputs @ (inputs[:, pairs[0]] * inputs[:, pairs[1]])
        _factor_and_solve(np.zeros((solver.block.size, solver.block.size)))

    own = {"dual": dual, "primal": primal}
    iterate = primal_iterations if solver.form.name == "primal" else iterations
    solve = own.get(solver.name, iterate)

    def layer() -> None:
        gradient_and_recursion()
        push_and_pull()
        solve()

    return layer


def _factor_and_solve(gram: np.ndarray) -> None:
    gram.flat[:: len(gram) + 1] += 1.0 + abs(gram).sum() if not gram.any() else 1.0
    upper, _ = lapack.dpotrf(gram.T, lower=0, clean=0, overwrite_a=1)
    lapack.dpotrs(upper, np.ones(len(gram)), lower=0)
