"""Every solver of the layerwise metric against the metric multiplied out."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import cg

import actionopt as ao
from actionopt.metric.solver import SOLVERS
from actionopt.symbolic import loss_function, module_function
from tests.metric.twins import LOSSES, OUTPUT_METRICS, dense_metric, make_problem, relative
from tests.modules.cases import CASES

both = pytest.mark.parametrize("joint", [False, True], ids=["layerwise", "joint"])


def check_all(problem: ao.Problem, w: np.ndarray, joint: bool) -> None:
    """Hold products, the dense array, the determinant and every solver against the twin."""
    expected = dense_metric(problem, w, joint)
    c = np.random.default_rng(5).standard_normal(problem.size)
    solution = np.linalg.solve(expected, c)
    metric = ao.LayerMetric(problem, w, joint=joint)
    assert relative(metric.dense(), expected) < 1e-12
    assert relative(metric @ c, expected @ c) < 1e-12
    assert metric.logdet() == pytest.approx(np.linalg.slogdet(expected)[1], rel=1e-10, abs=1e-10)
    for solve in SOLVERS:
        found = ao.LayerMetric(problem, w, joint=joint, solve=solve).solve(c)
        assert relative(found, solution) < 1e-9, solve


@both
@pytest.mark.parametrize("module", CASES)
def test_every_module(module: str, joint: bool) -> None:
    problem = make_problem(module)
    check_all(problem, problem.initial_weights(1), joint)


@both
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output_metric", OUTPUT_METRICS)
def test_every_loss_and_output_metric(loss: str, output_metric: str, joint: bool) -> None:
    problem = make_problem(loss=loss, output_metric=OUTPUT_METRICS[output_metric])
    check_all(problem, problem.initial_weights(2), joint)


@both
@pytest.mark.parametrize("samples", [1, 2, 3, 4, 9, 12, 60])
def test_every_batch_size(samples: int, joint: bool) -> None:
    problem = make_problem(samples=samples)  # 3 features, 12 weights a layer: each size meets one of them
    check_all(problem, problem.initial_weights(3), joint)


@both
@pytest.mark.parametrize("mass", ["one number", "one a layer", "rank one", "a number a weight"])
def test_every_kind_of_mass(mass: str, joint: bool) -> None:
    size = make_problem().size
    layer = np.concatenate([np.outer([1.0, 2.0, 3.0], [0.5, 0.2, 0.1]).ravel(), [0.3, 0.6, 0.9]])
    values: dict[str, Any] = {
        "one number": 0.3,
        "one a layer": [0.1, 0.7, 2.0],
        "rank one": np.tile(layer, 3),
        "a number a weight": 0.1 + np.random.default_rng(3).random(size),
    }
    problem = make_problem(mass=values[mass], samples=5)
    check_all(problem, problem.initial_weights(4), joint)


@st.composite
def chains(draw: st.DrawFn) -> ao.Problem:
    """Draw dense layers, residuals, parallels and activations of random widths that fit each other."""
    width, modules = draw(st.integers(1, 4)), []
    first = width
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["dense", "residual", "parallel", "activation"]))
        if kind == "dense":
            out = draw(st.integers(1, 4))
            modules.append(ao.Dense(width, out, draw(st.sampled_from(["tanh", "softplus", None])), draw(st.booleans())))
            width = out
        elif kind == "residual":
            modules.append(ao.Residual(ao.Chain(ao.Dense(width, 2, "sin"), ao.Dense(2, width))))
        elif kind == "parallel":
            modules.append(ao.Parallel(ao.Dense(width, 1, "tanh"), ao.Parameter(2)))
            width = 3
        else:
            modules.append(ao.Activation(width, "tanh"))
    samples = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    options = {"mass": float(draw(st.sampled_from([1e-3, 0.1, 10.0]))), "output_metric": draw(METRICS)}
    inputs, targets = rng.standard_normal((samples, first)), rng.standard_normal((samples, width))
    return ao.Problem(modules, inputs, targets, ao.SquaredError(), **options)


METRICS = st.sampled_from(["fisher", "euclidean", None])


@given(problem=chains(), joint=st.booleans())
def test_random_chains(problem: ao.Problem, joint: bool) -> None:
    if problem.size:
        check_all(problem, problem.initial_weights(0), joint)


@both
def test_dense_metric_against_casadi(joint: bool) -> None:
    problem = make_problem("Residual")
    w = problem.initial_weights(6)
    weights, x = ca.MX.sym("w", problem.size), ca.MX.sym("x", 3)
    z = x
    for module, piece in zip(problem.modules, problem.slices, strict=True):
        z = module_function(module)(z, weights[piece.start : piece.stop])
    y, target = ca.MX.sym("y", 3), ca.MX.sym("target", 3)
    hessian = ca.Function("h", [y, target], [ca.hessian(loss_function(problem.loss, 3, 3)(y, target), y)[0]])
    chain = ca.Function("chain", [weights, x], [z, ca.jacobian(z, weights)])
    expected = np.diag(problem.mass)
    for sample, label in zip(problem.inputs, problem.target_array, strict=True):
        output, jacobian = chain(w, sample)
        expected = expected + np.array(jacobian.T @ hessian(output, label) @ jacobian) / problem.samples
    for first in problem.slices:
        for second in problem.slices:
            if first != second and not joint:
                expected[first, second] = 0.0
    assert relative(ao.LayerMetric(problem, w, joint=joint).dense(), expected) < 1e-12


def test_it_is_a_linear_operator(rng: np.random.Generator) -> None:
    problem = make_problem()
    metric = ao.LayerMetric(problem, problem.initial_weights(0))
    u, v = rng.standard_normal((2, problem.size))
    columns = rng.standard_normal((problem.size, 4))
    assert relative(metric @ columns, metric.dense() @ columns) < 1e-13
    assert relative(metric.T @ v, metric @ v) == 0.0
    assert relative((2.0 * metric) @ v, 2.0 * (metric @ v)) < 1e-15
    assert metric.inner(u, v) == pytest.approx(u @ metric.dense() @ v)
    assert metric.norm(v) == pytest.approx(np.sqrt(v @ metric.dense() @ v))
    assert relative(metric.solve(columns), np.linalg.solve(metric.dense(), columns)) < 1e-9
    found, flag = cg(metric, v, rtol=1e-12, M=metric.inverse, maxiter=3)
    assert flag == 0
    assert relative(found, metric.solve(v)) < 1e-9


def test_blocks_are_those_of_the_dense_metric() -> None:
    problem = make_problem("Activation tanh")
    metric = ao.LayerMetric(problem, problem.initial_weights(0))
    assert [block.label for block in metric.blocks] == ["1 first", "3 last"]
    for block in metric.blocks:
        assert relative(block.dense(), metric.dense()[block.weights, block.weights]) < 1e-13


def test_mass_alone_without_an_output_metric(rng: np.random.Generator) -> None:
    problem = make_problem(output_metric=None)
    metric = ao.LayerMetric(problem, problem.initial_weights(0))
    c = rng.standard_normal(problem.size)
    assert np.array_equal(metric.solve(c), c / problem.mass)
    assert metric.logdet() == pytest.approx(np.log(problem.mass).sum())
    assert metric.report.rows == ()


@both
@pytest.mark.parametrize("solve", SOLVERS)
def test_report(joint: bool, solve: str) -> None:
    problem = make_problem(samples=2, mass=0.01)
    w = problem.initial_weights(0)
    metric = ao.LayerMetric(problem, w, joint=joint, solve=solve)
    metric.solve(problem.gradient(w))
    report = metric.report
    assert [row.size for row in report.rows] == ([36] if joint else [12, 12, 12])
    assert {row.rank for row in report.rows} == {4}
    expected = dense_metric(problem, w, joint)
    assert (len(report), report[0], list(report)) == (len(report.rows), report.rows[0], list(report.rows))
    for row, block in zip(report.rows, metric.blocks, strict=True):
        np.testing.assert_array_equal(np.asarray(block), metric.dense()[block.weights, block.weights])
        assert row.solver == solve or (solve == "auto" and row.solver in SOLVERS)
        assert row.residual < 1e-8
        top = np.linalg.eigvalsh(expected[block.weights, block.weights] / 0.01)[-1]
        assert row.condition == pytest.approx(top, rel=0.05)
        assert row.module in str(report)
        assert row.module in metric._repr_html_()


def test_plot_draws_every_block() -> None:
    problem = make_problem()
    ax = ao.LayerMetric(problem, problem.initial_weights(0)).plot()
    assert len(ax.lines) == 3
    assert ax.get_xlabel()
    assert ax.get_ylabel()
