"""Masses so small that rounding decides: a solution is exact to its tolerance, or refused.

The reference solves `(D + K^T K) x = c` in 120 digits for the rows and the right-hand side as the solver has them.
"""

from __future__ import annotations

from itertools import pairwise

import mpmath
import numpy as np
import pytest

import actionopt as ao
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.block import Block
from tests.metric.twins import dense_metric, make_problem, relative

MASSES = [1e-2, 1e-6, 1e-9, 1e-12, 1e-15, 1e-20, 1e-30]
TOL = 1e-10


def network(sizes: tuple[int, ...], samples: int, loss: ao.Loss, mass: float) -> ao.Problem:
    rng = np.random.default_rng(0)
    hidden = [ao.Dense(a, b, "tanh") for a, b in pairwise(sizes[:-1])]
    classes = isinstance(loss, ao.SoftmaxCrossEntropy)
    targets = rng.integers(0, sizes[-1], samples) if classes else rng.standard_normal((samples, sizes[-1]))
    inputs = rng.standard_normal((samples, sizes[0]))
    return ao.Problem([*hidden, ao.Dense(*sizes[-2:])], inputs, targets, loss, mass=mass)


def in_digits(block: Block, c: np.ndarray) -> np.ndarray:
    """Solve with a block by the Woodbury identity in 120 digits."""
    with mpmath.workdps(120):
        scaled = block.matrix()
        rows = mpmath.matrix(scaled.tolist())
        root = [mpmath.mpf(float(r)) for r in block.root]
        right = mpmath.matrix([mpmath.mpf(float(v)) / r for v, r in zip(c, root, strict=True)])
        inner = mpmath.lu_solve(rows * rows.T + mpmath.eye(rows.rows), rows * right)
        x = right - rows.T * inner
        return np.array([float(v / r) for v, r in zip(x, root, strict=True)])


def error(block: Block, x: np.ndarray, c: np.ndarray) -> float:
    exact = in_digits(block, c)
    return float(np.linalg.norm((x - exact) * block.root) / np.linalg.norm(exact * block.root))


def right_hand_side(problem: ao.Problem, w: np.ndarray, kind: str) -> np.ndarray:
    return problem.gradient(w) if kind == "gradient" else np.random.default_rng(5).standard_normal(problem.size)


@pytest.mark.parametrize("solve", ["auto", "primal", "dual", "cg"])
@pytest.mark.parametrize("kind", ["gradient", "any"])
@pytest.mark.parametrize(
    ("sizes", "samples", "loss"),
    [((4, 6, 3), 5, ao.SquaredError()), ((3, 4), 8, ao.SoftmaxCrossEntropy()), ((3, 4), 5, ao.SquaredError())],
)
def test_exact_to_its_tolerance_or_refused(
    sizes: tuple[int, ...], samples: int, loss: ao.Loss, kind: str, solve: str
) -> None:
    solved = 0
    for mass in MASSES:
        problem = network(sizes, samples, loss, mass)
        w = problem.initial_weights(0)
        c = right_hand_side(problem, w, kind)
        metric = ao.LayerMetric(problem, w, solve=solve, tol=TOL)
        try:
            x = metric.solve(c)
        except ao.SolverError:
            continue
        solved += 1
        for solver in metric.solvers:
            cut = solver.block.weights
            assert error(solver.block, x[cut], c[cut]) <= 1.5 * TOL, (mass, solver.name)
            assert solver.error <= TOL
    assert solved >= 2


@pytest.mark.parametrize("solve", ["auto", "primal", "dual", "cg"])
@pytest.mark.parametrize("mass", MASSES)
def test_well_determined_systems_are_solved_at_every_mass(solve: str, mass: float) -> None:
    problem = network((3, 4), 5, ao.SquaredError(), mass)  # 20 rows see all 16 weights: mass is not needed at all
    w = problem.initial_weights(0)
    g = problem.gradient(w)
    metric = ao.LayerMetric(problem, w, solve=solve)
    assert error(metric.blocks[0], metric.solve(g), g) < 1e-13


@pytest.mark.parametrize("solve", ["auto", "primal", "dual", "cg"])
def test_gradient_at_a_tiny_mass_is_refused_with_the_way_out(solve: str) -> None:
    problem = network((4, 6, 3), 5, ao.SquaredError(), 1e-9)
    w = problem.initial_weights(0)
    with pytest.raises(ao.SolverError, match=r"exact to .* not to tol = 1\.0e-10; give .* larger mass.* larger tol"):
        ao.LayerMetric(problem, w, solve=solve).solve(problem.gradient(w))
    with pytest.raises(ao.SolverError, match="larger mass"):
        ao.step(problem, w, 0.1, solve=solve)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("solve", ["auto", "primal", "dual"])
def test_a_larger_tolerance_is_kept(solve: str, joint: bool) -> None:
    problem = make_problem(samples=40, mass=1e-9)
    w = problem.initial_weights(0)
    g = problem.gradient(w)
    expected = np.linalg.solve(dense_metric(problem, w, joint), g)
    assert relative(ao.LayerMetric(problem, w, joint=joint, solve=solve, tol=1e-5).solve(g), expected) < 1e-5


def test_report_says_how_large_the_error_is() -> None:
    problem = make_problem(samples=40, mass=1e-9)
    metric = ao.LayerMetric(problem, problem.initial_weights(0), tol=1e-5)
    metric.solve(metric.gradient)
    largest = max(row.error for row in metric.report)
    assert 1e-12 < largest <= 1e-5
    assert "error" in str(metric.report)
    # relative to the solution: the right-hand side is 1e9 times larger, and would hide it
    assert max(row.residual for row in metric.report) > 1e-9


def test_trajectories_get_what_rounding_allows_or_nan() -> None:
    for mass, found in ((1e-8, True), (1e-14, False)):
        problem = make_problem(samples=12, mass=mass)
        w = np.stack([problem.initial_weights(seed) for seed in (0, 1)])
        g = problem.gradient(w)
        x = BatchedMetric(problem, w).solve(g)
        assert np.isfinite(x).all() == found
        if found:
            for node in (0, 1):
                exact = ao.LayerMetric(problem, w[node], tol=1e-6).solve(g[node])
                assert relative(x[node], exact) < 1e-5
