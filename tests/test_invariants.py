"""What holds for every system: multipliers are adjoints, Woodbury is a dense solve, a free end costs no action."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import actionopt as ao
from actionopt.metric.batched import BatchedMetric
from actionopt.ops import NUMPY, DualOps
from tests.metric.twins import dense_output_metric, output_jacobian
from tests.random_problems import problems, rows

System = tuple[ao.Problem, np.ndarray]
DUALS = DualOps(NUMPY)


def dense_metric(problem: ao.Problem, w: np.ndarray, joint: bool) -> np.ndarray:
    """The metric from full Jacobians of the outputs."""
    jacobian, y = output_jacobian(problem, w), problem.outputs(w)
    if problem.output_metric is rows:
        factor = np.stack(rows(NUMPY, y, problem.target_array), axis=-2)
        g = factor.swapaxes(-1, -2) @ factor
    else:
        g = dense_output_metric(problem, w)
    pulled = np.einsum("bin,bij,bjk->nk", jacobian, g, jacobian) / problem.samples
    if not joint:
        owner = np.repeat(np.arange(len(problem.modules)), [module.weight_size for module in problem.modules])
        pulled[owner[:, None] != owner] = 0.0
    return pulled + np.diag(problem.mass)


@given(problems())
def test_gradient_is_the_derivative_of_the_energy(system: System) -> None:
    """Backpropagation against forward mode: every partial derivative of E by a dual number."""
    problem, w = system
    weights = DUALS.split(DUALS.dual(w, np.eye(len(w))), [module.weight_size for module in problem.modules])
    z = problem.inputs
    for module, piece in zip(problem.modules, weights, strict=True):
        z = module.forward(DUALS, piece, z)
    losses = DUALS.parts(problem.loss.value(DUALS, z, problem.target_array))[1]
    expected = np.broadcast_to(losses, (len(w), problem.samples)).mean(axis=-1) + problem.weight_decay * w
    np.testing.assert_allclose(problem.gradient(w), expected, rtol=1e-9, atol=1e-11 * (1 + abs(expected).max()))


@settings(max_examples=100)
@given(problems(), st.sampled_from(["auto", "primal", "dual", "cg"]), st.booleans())
def test_metric_solves_are_dense_solves(system: System, solve: str, joint: bool) -> None:
    problem, w = system
    metric = ao.LayerMetric(problem, w, joint=joint, solve=solve, tol=1e-12)
    expected = dense_metric(problem, w, joint)
    size = abs(expected).max()
    np.testing.assert_allclose(metric.dense(), expected, rtol=0, atol=1e-11 * size)
    c = problem.gradient(w) + np.linspace(-1.0, 1.0, len(w))
    np.testing.assert_allclose(metric @ c, expected @ c, rtol=0, atol=1e-10 * size * abs(c).max())
    x = np.linalg.solve(expected, c)
    condition = size / problem.mass.min()
    np.testing.assert_allclose(metric.solve(c), x, rtol=0, atol=1e-13 * condition * abs(x).max() + 1e-11 * abs(x).max())


@given(problems(), st.sampled_from(["layerwise", "joint", "euclidean"]))
def test_metrics_along_a_trajectory_are_those_at_its_nodes(system: System, kind: str) -> None:
    problem, w = system
    nodes = np.stack([w, 0.5 * w, w + 0.3])
    vectors = np.stack([w + 1.0, np.ones_like(w), -w])
    batched = BatchedMetric(problem, nodes, metric=kind)
    for node, vector, product, solution in zip(
        nodes, vectors, batched.product(vectors), batched.solve(vectors), strict=True
    ):
        dense = np.diag(problem.mass) if kind == "euclidean" else dense_metric(problem, node, kind == "joint")
        size = abs(dense).max()
        np.testing.assert_allclose(product, dense @ vector, rtol=0, atol=1e-10 * size * abs(vector).max())
        np.testing.assert_allclose(dense @ solution, vector, rtol=0, atol=1e-9 * size * abs(solution).max())


@given(
    problems(smooth=True), st.sampled_from(["layerwise", "joint", "euclidean"]), st.sampled_from(["midpoint", "gauss2"])
)
def test_a_free_end_costs_no_action(system: System, metric: str, scheme: str) -> None:
    """The least action from a start is zero to rounding, and energy is lost along the path."""
    problem, w = system
    time_scale = 1.0 / (1.0 + abs(problem.gradient(w) / problem.mass).max())
    path = ao.minimize_action(problem, w, horizon=0.2 * time_scale, steps=4, scheme=scheme, metric=metric)
    scale = 1.0 + abs(problem.energy(w))
    assert path.success
    assert 0.0 <= path.action < 1e-16 * scale
    assert abs(path.momenta).max() < 1e-7 * scale
    assert path.energy_change <= 1e-12 * scale
    np.testing.assert_array_equal(path.weights[0], w)


@given(problems())
def test_multipliers_are_adjoints(system: System) -> None:
    problem, w = system
    check = ao.check_adjoints(problem, w)
    assert check.ok
    assert check.relative_error < 1e-9
