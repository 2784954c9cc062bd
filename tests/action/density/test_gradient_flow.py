"""l(w, v) = 1/2 |v + G^{-1} g|^2_G of a problem: value, derivatives and Hessian products against dense twins."""

from __future__ import annotations

import numpy as np
import pytest

from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.metric.kinds import METRICS
from tests.action.cases import PROBLEMS, massive, softmax, squared
from tests.action.naive import NaiveFlow

every_problem = pytest.mark.parametrize("name", PROBLEMS)
every_metric = pytest.mark.parametrize("metric", METRICS)


@every_problem
@every_metric
def test_value_momentum_and_parts(name: str, metric: str, rng: np.random.Generator) -> None:
    problem = PROBLEMS[name]()
    w, v = rng.standard_normal((2, 4, problem.size))
    expansion = GradientFlowDensity(problem, metric).expand(w, v)
    naive = NaiveFlow(problem, metric)
    for k in range(4):
        g, dense = naive.at(w[k])
        flow = -np.linalg.solve(dense, g)
        kinetic, potential = 0.5 * v[k] @ dense @ v[k], 0.5 * flow @ dense @ flow
        np.testing.assert_allclose(expansion.value[k], naive.value(w[k], v[k]), rtol=1e-10)
        np.testing.assert_allclose(expansion.momentum[k], dense @ v[k] + g, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(expansion.flow_velocity[k], flow, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(expansion.kinetic[k], kinetic, rtol=1e-10)
        np.testing.assert_allclose(expansion.potential[k], potential, rtol=1e-10)
        np.testing.assert_allclose(expansion.hamiltonian[k], kinetic - potential, rtol=1e-9, atol=1e-10)
    c = rng.standard_normal((2, 4, problem.size))
    np.testing.assert_allclose(
        expansion.mass_solve(c),
        [[np.linalg.solve(naive.at(x)[1], y) for x, y in zip(w, s, strict=True)] for s in c],
        rtol=1e-9,
    )


@every_problem
@every_metric
def test_force_and_products_are_derivatives(name: str, metric: str, rng: np.random.Generator) -> None:
    problem, step = PROBLEMS[name](), 1e-5
    density, naive = GradientFlowDensity(problem, metric), NaiveFlow(problem, metric)
    w, v, dw, dv = rng.standard_normal((4, 3, problem.size))
    expansion = density.expand(w, v)
    slope = (expansion.force * dw).sum(axis=-1)
    for k in range(3):
        ahead, behind = naive.value(w[k] + step * dw[k], v[k]), naive.value(w[k] - step * dw[k], v[k])
        assert slope[k] == pytest.approx((ahead - behind) / (2 * step), rel=1e-6, abs=1e-7)
    ahead, behind = (density.expand(w + s * dw, v + s * dv) for s in (step, -step))
    force, momentum = expansion.product(dw, dv)
    np.testing.assert_allclose(force, (ahead.force - behind.force) / (2 * step), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(momentum, (ahead.momentum - behind.momentum) / (2 * step), rtol=1e-5, atol=1e-6)


@every_metric
def test_product_is_symmetric_and_takes_leading_axes(metric: str, rng: np.random.Generator) -> None:
    problem = softmax()
    w, v = rng.standard_normal((2, 2, problem.size))
    expansion = GradientFlowDensity(problem, metric).expand(w, v)
    dw, dv = rng.standard_normal((2, 3, 2, problem.size))
    force, momentum = expansion.product(dw, dv)
    for i in range(3):
        one = expansion.product(dw[i], dv[i])
        np.testing.assert_allclose(force[i], one[0], rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(momentum[i], one[1], rtol=1e-10, atol=1e-11)
    left = (force[0] * dw[1] + momentum[0] * dv[1]).sum()
    right = (force[1] * dw[0] + momentum[1] * dv[0]).sum()
    assert left == pytest.approx(right, rel=1e-10)


def test_blocks_equal_the_whole(rng: np.random.Generator) -> None:
    problem = squared()
    density = GradientFlowDensity(problem, "layerwise")
    w, v, dw, dv = rng.standard_normal((4, 7, problem.size))
    whole = density.expand(w, v)
    density.block = 3
    blocks = density.expand_blocks(w, v)
    assert type(blocks) is not type(whole)
    for name in ("value", "force", "momentum", "kinetic", "potential", "hamiltonian"):
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name), rtol=1e-12, atol=1e-13)
    for ours, theirs in zip(blocks.product(dw, dv), whole.product(dw, dv), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(blocks.mass_solve(dw), whole.mass_solve(dw), rtol=1e-11)


@pytest.mark.parametrize("make", [massive, squared])
def test_scalar_graph_of_a_constant_metric_equals_the_batched_density(make, rng: np.random.Generator) -> None:
    problem = make()
    w, v, dw, dv = rng.standard_normal((4, 5, problem.size))
    batched, scalar = GradientFlowDensity(problem, "euclidean").expand(w, v), LagrangianDensity(problem).expand(w, v)
    for name in ("value", "force", "momentum"):
        np.testing.assert_allclose(getattr(scalar, name), getattr(batched, name), rtol=1e-9, atol=1e-10)
    for ours, theirs in zip(scalar.product(dw, dv), batched.product(dw, dv), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(scalar.mass_solve(dw), batched.mass_solve(dw), rtol=1e-12)
