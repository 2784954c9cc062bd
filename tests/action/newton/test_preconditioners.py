"""The time Laplacian times the metric, and the assembled Hessian of small systems."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.action.newton.assembled import AssembledHessian, convex_part
from actionopt.action.newton.solve import make_density
from actionopt.action.newton.time_laplacian import TimeLaplacian
from actionopt.action.scheme import make_scheme
from actionopt.action.task import make_task
from tests.action.cases import INPUTS, XOR, quadratic, squared

ENDS = pytest.mark.parametrize("end", ["free", "fixed", "partly"])
SCHEMES = pytest.mark.parametrize("scheme", ["midpoint", "gauss2", "radau3"])
GRID = np.array([0.0, 0.2, 0.3, 0.7, 1.0])


def action_of(what: ao.Problem | ao.Lagrangian, scheme: str, end: str, metric: str = "layerwise") -> DiscreteAction:
    last = {"free": np.full(what.size, np.nan), "fixed": np.full(what.size, 0.3)}
    last["partly"] = np.where(np.arange(what.size) % 2, last["free"], last["fixed"])
    task = make_task(what, np.full(what.size, 0.1), last[end], make_scheme(scheme, GRID), metric=metric)
    return DiscreteAction(make_density(task), task)


def at_random(action: DiscreteAction, rng: np.random.Generator) -> ActionPoint:
    return action.at(np.where(action.free, rng.standard_normal(action.free.shape), 0.2))


def dense_hessian(point: ActionPoint) -> np.ndarray:
    """Column by column from products, free entries alone."""
    free = point.action.free
    columns = []
    for place in np.flatnonzero(free.ravel()):
        direction = np.zeros(free.size)
        direction[place] = 1.0
        columns.append(point.product(direction.reshape(free.shape)).ravel()[free.ravel()])
    return np.array(columns).T


def solved_columns(free: np.ndarray, solve) -> np.ndarray:
    columns = []
    for place in np.flatnonzero(free.ravel()):
        residual = np.zeros(free.size)
        residual[place] = 1.0
        columns.append(solve(residual.reshape(free.shape)).ravel()[free.ravel()])
    return np.array(columns).T


@SCHEMES
@ENDS
def test_gradient_and_products_are_derivatives_of_the_action(scheme: str, end: str, rng: np.random.Generator) -> None:
    action, step = action_of(squared(), scheme, end), 1e-5
    point = at_random(action, rng)
    move = rng.standard_normal(action.free.shape) * action.free
    ahead, behind = (action.at(point.points + s * move) for s in (step, -step))
    slope = (ahead.value - behind.value) / (2 * step)
    assert (point.gradient * move).sum() == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(
        point.product(move), (ahead.gradient - behind.gradient) / (2 * step), rtol=1e-5, atol=1e-5
    )
    assert not point.gradient[~action.free].any()


@SCHEMES
@ENDS
@pytest.mark.parametrize("metric", ["euclidean", "layerwise"])
def test_time_laplacian_is_symmetric_positive_definite(
    scheme: str, end: str, metric: str, rng: np.random.Generator
) -> None:
    action = action_of(squared(), scheme, end, metric)
    point, laplacian = at_random(action, rng), TimeLaplacian(action.task)
    inverse = solved_columns(action.free, lambda r: laplacian.solve(point.expansion, r))
    np.testing.assert_allclose(inverse, inverse.T, rtol=1e-8, atol=1e-10 * abs(inverse).max())
    assert np.linalg.eigvalsh(inverse)[0] > 0


@SCHEMES
@pytest.mark.parametrize(
    ("end", "metric"), [("fixed", "euclidean"), ("free", "euclidean"), ("partly", "euclidean"), ("free", "layerwise")]
)
def test_time_laplacian_inverts_the_kinetic_part(scheme: str, end: str, metric: str, rng: np.random.Generator) -> None:
    """Exactly: where the metric is constant in time, and for every metric where the end is free."""
    action = action_of(squared(), scheme, end, metric)
    point, laplacian = at_random(action, rng), TimeLaplacian(action.task)
    x = rng.standard_normal(action.free.shape) * action.free
    velocity = action.scheme.velocity @ x
    weighted = action.scheme.weights[:, None] * point.expansion.metric.product(velocity)
    kinetic = (action.scheme.velocity.T @ weighted) * action.free
    np.testing.assert_allclose(laplacian.solve(point.expansion, kinetic), x, rtol=1e-8, atol=1e-9)


def double_well() -> ao.Lagrangian:
    return ao.Drift(2, lambda ops, w: w - w * w * w, metric=[[2.0, 0.3], [0.3, 1.0]])


@SCHEMES
@ENDS
def test_banded_hessian_is_the_hessian(scheme: str, end: str, rng: np.random.Generator) -> None:
    action = action_of(double_well(), scheme, end)
    point = at_random(action, rng)
    banded = AssembledHessian(action).banded(point.expansion.hessian)
    width, size = len(banded) - 1, banded.shape[1]
    full = np.zeros((size, size))
    for offset in range(width + 1):
        full += np.diag(banded[offset, : size - offset], -offset)
        if offset:
            full += np.diag(banded[offset, : size - offset], offset)
    free = action.free.ravel()
    np.testing.assert_allclose(full[np.ix_(free, free)], dense_hessian(point), rtol=1e-10, atol=1e-11)


@ENDS
def test_assembled_solve_is_exact_where_the_lagrangian_is_convex(end: str, rng: np.random.Generator) -> None:
    action = action_of(quadratic(), "gauss2", end)
    point = at_random(action, rng)
    inverse = solved_columns(action.free, lambda r: AssembledHessian(action).solve(point, r))
    np.testing.assert_allclose(inverse @ dense_hessian(point), np.eye(len(inverse)), atol=1e-9)


def test_convex_part_keeps_convex_stages_and_lifts_the_others(rng: np.random.Generator) -> None:
    action = action_of(double_well(), "midpoint", "free")
    far = action.at(3.0 * rng.standard_normal(action.free.shape))
    for hessian, convex in zip(far.expansion.hessian, convex_part(far.expansion), strict=True):
        smallest = np.linalg.eigvalsh(hessian)[0]
        assert np.linalg.eigvalsh(convex)[0] > -1e-9
        if smallest > 0:
            np.testing.assert_allclose(convex, hessian, rtol=1e-9, atol=1e-9)
    assert min(np.linalg.eigvalsh(h)[0] for h in far.expansion.hessian) < -1e-3


def test_scalar_flows_of_problems_assemble_too(rng: np.random.Generator) -> None:
    problem = ao.Problem([ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)], INPUTS, XOR[:, None], ao.SquaredError())
    task = make_task(problem, np.zeros(problem.size), None, make_scheme("midpoint", GRID), metric="euclidean")
    action = DiscreteAction(LagrangianDensity(problem), task)
    point = at_random(action, rng)
    residual = rng.standard_normal(action.free.shape) * action.free
    x = AssembledHessian(action).solve(point, residual)
    assert (x * residual).sum() > 0


def test_hessian_that_is_not_finite_is_named_with_advice() -> None:
    action = action_of(double_well(), "midpoint", "free")
    with pytest.raises(ao.SolverError, match=r"the Hessian of the action could not be factorised.*another guess"):
        AssembledHessian(action)._factorise(-np.ones((len(GRID) - 1, 4, 4)))
