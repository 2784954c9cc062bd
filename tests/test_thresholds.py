"""Verdicts close to their thresholds, and the wiring of report and command line: each fails where a small fault would.

Passing cases are tested where the code lives; here each verdict is brought just past its edge.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import casadi as ca
import mpmath
import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
import actionopt.metric.dense_rows as rows_module
from actionopt.action.newton.solve import check_guess
from actionopt.action.trajectory import Trajectory
from actionopt.archive import load_arrays, save_arrays
from actionopt.cli import action as action_command
from actionopt.cli import contract as contract_command
from actionopt.cli import flow as flow_command
from actionopt.cli import main, points
from actionopt.contraction.displacement import displacement
from actionopt.contraction.lipschitz import DENSE_LIMIT, estimate_lipschitz, gradient_norms
from actionopt.errors import SolverError
from actionopt.files import replacing
from actionopt.loading import load_file
from actionopt.metric import batched as batched_module
from actionopt.metric.block import Block
from actionopt.metric.output_factor import hessian_factor
from actionopt.metric.solver import BlockSolver
from actionopt.newton.krylov import krylov_path
from actionopt.nlp import NlpSolver
from actionopt.nlp.conic import solve_qp
from actionopt.report import run as running
from actionopt.report import stages
from actionopt.report.page import Section, render
from actionopt.report.scale import _explicit
from actionopt.report.stages import Context, Options
from problems import linear_regression, xor
from tests.interop.onnx_models import evaluate, model, node, saved

XOR = xor.build()
W = XOR.initial_weights(0)


class OffGradient(ao.Dense):
    """A layer whose gradient is a thousandth too large, and whose adjoints are right."""

    def vjp(self, ops: Any, w: Any, z: Any, out: Any, adjoint: Any) -> Any:
        own, pulled = super().vjp(ops, w, z, out, adjoint)
        return 1.001 * own, pulled


def test_a_wrong_gradient_fails_the_check_though_the_adjoints_are_right() -> None:
    problem = ao.Problem([OffGradient(2, 3, "tanh"), ao.Dense(3, 1)], XOR.inputs, XOR.targets, ao.SquaredError())
    check = ao.check_adjoints(problem, problem.initial_weights(0))
    assert check.relative_error < 1e-10
    assert 1e-5 < check.gradient_error < 1e-2
    assert not check.ok


@pytest.mark.parametrize(("above", "ok"), [(1e-12, True), (1e-3, False), (1e-6, False)])
def test_composed_rates_above_the_whole_fail_the_certificate(above: float, ok: bool) -> None:
    found = ao.certify(XOR, W[None])
    scale = max(abs(found.whole).max(), abs(found.rates).max(), found.couplings.max())
    lifted = dataclasses.replace(found, composed=found.whole + above * scale)
    assert lifted.ok == ok
    assert (lifted.status == "failed") != ok


def test_a_certificate_that_fails_is_in_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    certify = contract_command.certify

    def lifted(*arguments: Any, **options: Any) -> ao.Certificate:
        found = certify(*arguments, **options)
        return dataclasses.replace(found, composed=found.whole + 1.0)

    words = ["contract", xor.__file__, "--horizon", "1", "--steps", "2"]
    assert CliRunner().invoke(main, words).exit_code == 0
    monkeypatch.setattr(contract_command, "certify", lifted)
    assert CliRunner().invoke(main, words).exit_code == 1


def test_the_share_of_a_module_is_measured_in_the_metric() -> None:
    """Weights of very different masses: the lengths decide, not the numbers."""
    problem = ao.Problem(list(XOR.modules), XOR.inputs, XOR.targets, ao.SquaredError(), mass=[1e-6, 1e6])
    direction = np.ones(problem.size)
    worst = ao.Contraction(rate=-1.0, weights=W, direction=direction, metric="euclidean")
    assert contract_command._shares(problem, worst).endswith("% in module 2 Dense")
    heavy_first = ao.Problem(list(XOR.modules), XOR.inputs, XOR.targets, ao.SquaredError(), mass=[1e6, 1e-6])
    assert contract_command._shares(heavy_first, worst).endswith("% in module 1 Dense")


def context(tmp_path: Path) -> Context:
    found = Context(XOR, Options(steps=8, horizon=1.0), tmp_path)
    ao.flow(XOR, W, horizon=1.0, steps=8).save(tmp_path / stages.FLOW)
    return found


@pytest.mark.parametrize(("size", "state"), [(1e-14, "ok"), (1e-9, "failed"), (1e-6, "failed")])
def test_equations_of_the_march_that_do_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: float, state: str
) -> None:
    solve = stages.flow

    def off(*arguments: Any, **options: Any) -> Trajectory:
        found = solve(*arguments, **options)
        share = size * abs(found.energy_change) / found.times[-1]
        return dataclasses.replace(found, action_density=np.full_like(found.action_density, share))

    monkeypatch.setattr(stages, "flow", off)
    assert stages.action_stage(context(tmp_path)).state == state


def test_the_least_rate_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = context(tmp_path)
    stages.action_stage(where)

    def varying(problem: ao.Problem, nodes: np.ndarray, **options: Any) -> Any:
        return dataclasses.replace(ao.certify(problem, nodes), whole=1.0 + np.cos(np.arange(len(nodes))))

    monkeypatch.setattr(stages, "certify", varying)
    found = stages.contraction_stage(where).summary
    rates = 1.0 + np.cos(np.arange(9))
    assert found["least"] == rates.min() == rates[3]
    assert found["time"] == pytest.approx(3 / 8)
    assert (found["start"], found["end"]) == (rates[0], rates[-1])


def test_a_mistake_of_ours_in_a_stage_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any, **options: Any) -> None:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(stages, "flow", wrong)
    words = ["run", linear_regression.__file__, "--steps", "4", "--horizon", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, words)
    assert isinstance(result.exception, TypeError)


def test_another_program_computes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, options = stages.STAGES[0], Options()
    key = running._key(stage, ["source"], {}, options, {})
    assert running._key(stage, ["source"], {}, options, {}) == key
    monkeypatch.setattr(running, "program_digest", lambda: "another")
    assert running._key(stage, ["source"], {}, options, {}) != key


def test_titles_are_escaped_wherever_they_stand() -> None:
    page = render("<t>", "<lead>", [Section("<title>", "ok", ["<sentence>"])])
    for raw in ("<t>", "<lead>", "<title>", "<sentence>"):
        assert raw not in page.replace("<title>&lt;t&gt;", "")
    assert page.count("&lt;title&gt;") >= 2


@pytest.mark.parametrize(("rise", "stable"), [(0.0, True), (1e-6, False), (0.5, False)])
def test_an_explicit_flow_whose_energy_rises_is_none(
    monkeypatch: pytest.MonkeyPatch, rise: float, stable: bool
) -> None:
    from actionopt.report import scale

    solve = scale.flow

    def rising(*arguments: Any, **options: Any) -> Trajectory:
        found = solve(*arguments, **options)
        return dataclasses.replace(found, energy=found.energy[0] * (1.0 + rise * np.arange(len(found.times))))

    monkeypatch.setattr(scale, "flow", rising)
    assert (_explicit(XOR, W, 0.1, 4, "layerwise") is not None) == stable


def test_residuals_have_the_sign_of_the_lagrangian_and_know_every_bound() -> None:
    """min (x - 3)^2 + y^2 with x <= 1, y >= 0.5, x + y >= 2: all three sides of what a residual adds up."""
    x = ca.MX.sym("x", 2)
    solver = NlpSolver(x, (x[0] - 3) ** 2 + x[1] ** 2, x[0] + x[1])
    found = solver.solve([0.0, 1.0], lbx=[-np.inf, 0.5], ubx=[1.0, np.inf], lbg=2.0, ubg=np.inf)
    np.testing.assert_allclose(found.x, [1.0, 1.0], atol=1e-6)
    assert found.success
    assert found.stats["stationarity"] < 1e-6
    np.testing.assert_allclose(found.lam_x, [6.0, 0.0], atol=1e-5)
    active = solver.solve([0.0, 1.0], lbx=[0.0, 0.5], ubx=[1.0, np.inf], lbg=-np.inf, ubg=np.inf)
    np.testing.assert_allclose(active.lam_x, [4.0, -1.0], atol=1e-5)
    assert active.stats["stationarity"] < 1e-6
    # a point below its bounds that a solver calls solved
    for below in ({"lbx": [5.0, -np.inf]}, {"lbg": 9.0, "ubg": np.inf}):
        limits = {"lbx": -np.inf, "ubx": np.inf, "lbg": -np.inf, "ubg": np.inf} | below
        from actionopt.nlp.verdict import Bounds

        broken = Bounds(**{name: np.asarray(value) for name, value in limits.items()})
        assert broken.violation(np.zeros(2), np.zeros(1)).max() >= 5.0


def test_masses_of_parts_and_of_chains_are_kept() -> None:
    inner = ao.Chain(ao.Dense(2, 2), ao.Dense(2, 1), mass=2.0)
    problem = ao.Problem([ao.Dense(2, 2), inner], np.ones((3, 2)), np.ones(3), ao.SquaredError(), mass=5.0)
    assert problem.mass.tolist() == [5.0] * 6 + [2.0] * 9
    nested = ao.Chain(ao.Dense(2, 2), ao.Chain(ao.Dense(2, 2), ao.Dense(2, 1), mass=3.0))
    problem = ao.Problem([nested], np.ones((3, 2)), np.ones(3), ao.SquaredError(), mass=5.0)
    assert problem.mass.tolist() == [5.0] * 6 + [3.0] * 9
    beside = ao.Parallel(ao.Dense(2, 1, mass=7.0), ao.Dense(2, 1))
    problem = ao.Problem([beside, ao.Dense(2, 1)], np.ones((3, 4)), np.ones(3), ao.SquaredError(), mass=5.0)
    assert problem.mass.tolist() == [7.0] * 3 + [5.0] * 6


def test_a_list_as_long_as_the_weights_is_a_mass_a_weight() -> None:
    """Two modules of one weight each: two numbers are either, and mean the same; of a vector nothing is spread."""
    modules = [ao.Dense(1, 1, bias=False), ao.Dense(1, 1, bias=False)]
    problem = ao.Problem(modules, np.ones((3, 1)), np.ones(3), ao.SquaredError(), mass=[2.0, 3.0])
    assert problem.mass.tolist() == [2.0, 3.0]
    with pytest.raises(ao.InputError, match="mass must"):
        ao.Problem(modules, np.ones((3, 1)), np.ones(3), ao.SquaredError(), mass=[[2.0, 2.0], [3.0, 3.0]])


class Centred(ao.Module):
    """A formula that mixes samples."""

    in_size, out_size, weight_size = 2, 2, 0

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return z - (z.mean(axis=-2, keepdims=True) if isinstance(z, np.ndarray) else 0.0)


def test_formulas_that_mix_samples_are_refused() -> None:
    with pytest.raises(ao.InputError, match="mixes the nodes or samples"):
        ao.Problem([Centred(), ao.Dense(2, 1)], np.eye(2), np.ones(2), ao.SquaredError())


def test_masses_that_are_nearly_a_product_are_no_product() -> None:
    """A table of masses off the product of a row and a column by 1e-5: no digit of the metric is lost."""
    product = np.outer([1.0, 2.0], [1.0, 3.0, 5.0, 7.0])
    near = product.copy()
    near[1, 2] *= 1.0 + 1e-5
    for table in (product, near):
        mass = np.concatenate([table[:, :3].ravel(), table[:, 3]])
        problem = ao.Problem(ao.Dense(3, 2), np.eye(3), np.ones((3, 2)), ao.SquaredError(), mass=mass)
        w = problem.initial_weights(0)
        metric, g = ao.LayerMetric(problem, w), problem.gradient(w)
        jacobian = np.kron(np.eye(2), np.eye(3)), np.kron(np.eye(2), np.ones((3, 1)))
        k = np.concatenate(jacobian, axis=1)  # rows of one linear layer: input and 1, for every output and sample
        exact = np.linalg.solve(np.diag(mass) + k.T @ k / 3.0, g)
        assert np.linalg.norm(metric.solve(g) - exact) < 1e-12 * np.linalg.norm(exact)


@pytest.mark.parametrize("inputs", [89, 90, 91, 100])
def test_products_over_pairs_of_many_inputs_leave_none_out(inputs: int) -> None:
    """Pairs of 90 inputs fill one slab of 4095 just so, those of 91 need two."""
    pairs = np.arange(inputs * (inputs + 1) // 2)
    np.testing.assert_array_equal(np.concatenate([pairs[part] for part in rows_module._slabs(len(pairs))]), pairs)


def test_a_layer_without_inputs_has_a_metric() -> None:
    beside = ao.Parallel(ao.Dense(2, 1), ao.Dense(0, 1, bias=False))
    problem = ao.Problem([beside, ao.Dense(2, 1)], np.ones((3, 2)), np.ones(3), ao.SquaredError())
    metric = ao.LayerMetric(problem, problem.initial_weights(0))
    assert metric.dense().shape == (problem.size, problem.size)


def test_a_slightly_concave_loss_is_no_metric() -> None:
    """Eigenvalues 1 and -1e-3: the second is no rounding."""
    loss = ao.CustomLoss(lambda ops, y, t: ops.sum(ops.columns(y)[0] ** 2 / 2 - 0.5e-3 * ops.columns(y)[1] ** 2))
    problem = ao.Problem(ao.Dense(2, 2), np.eye(2), None, loss, output_metric=None)
    with pytest.raises(ao.InputError, match="eigenvalue"):
        hessian_factor(problem, np.ones((2, 2)))


def block(n: int, rank: int, scale: float = 1.0, seed: int = 0) -> Block:
    """The block of one linear layer of n weights and `rank` samples, one output."""
    rng = np.random.default_rng(seed)
    inputs = scale * rng.standard_normal((rank, n))
    problem = ao.Problem(ao.Dense(n, 1, bias=False), inputs, np.ones(rank), ao.SquaredError())
    found: Block = ao.LayerMetric(problem, problem.initial_weights(0)).blocks[0]
    return found


def test_what_another_form_left_is_not_taken() -> None:
    """As many weights as rows: the size of both forms agrees, their matrices do not."""
    one = block(5, 5)
    first = BlockSolver(one, "primal", 1e-10)
    c = np.arange(1.0, 6.0)
    first.solve(c)
    assert BlockSolver(one, "primal", 1e-10, first.leave()).held is not None
    again = BlockSolver(one, "dual", 1e-10, first.leave())
    assert again.held is None


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_the_error_of_a_solution_is_relative(size: float) -> None:
    one = block(6, 4)
    solver = BlockSolver(one, "cg", 1e-9)
    c = size * np.arange(1.0, 7.0)
    x = solver.solve(c)
    rows = one.matrix() * one.root[None, :] if one.matrix().shape[1] == len(one.root) else one.matrix()
    exact = np.linalg.solve(np.diag(one.root**2) + rows.T @ rows, c)
    assert np.linalg.norm(x - exact) <= 1e-8 * np.linalg.norm(exact)
    assert solver.error <= 1e-9


def test_a_residual_near_the_tolerance_decides_over_a_quadratic_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answer, asked for to 1e-8 and off by 1e-5."""
    h, q, a = ca.DM([[2.0, 0.0], [0.0, 2.0]]), ca.DM([-2.0, -4.0]), ca.DM([[1.0, 1.0]])
    assert solve_qp(h, q, a).success
    conic = ca.conic

    def off(*arguments: Any) -> Any:
        function = conic(*arguments)

        class Off:
            def __call__(self, **given: Any) -> Any:
                out = dict(function(**given))
                out["x"] = out["x"] + 1e-5
                return out

            def stats(self) -> Any:
                return function.stats()

        return Off()

    monkeypatch.setattr(ca, "conic", off)
    found = solve_qp(h, q, a)
    assert (found.success, found.status) == (False, "stopped")


def test_the_largest_curvature_may_be_negative() -> None:
    """Curvatures -4 and 1 in many dimensions, where eigenvalues are found by iteration."""
    size = DENSE_LIMIT + 5
    loss = ao.CustomLoss(lambda ops, y, t: 0.5 * ops.sum(y * y) - 2.5 * ops.sum(ops.columns(y)[0] ** 2))
    problem = ao.Problem(ao.Parameter(size), None, None, loss, output_metric=None)
    assert estimate_lipschitz(problem, np.zeros((1, size))).smoothness == pytest.approx(4.0, rel=1e-6)


def test_kappa_is_the_largest_along_the_way() -> None:
    """Every sample's gradient vanishes along this flow: the constant is that of its start."""
    inputs = np.linspace(1.0, 2.0, 12)[:, None]
    problem = ao.Problem(ao.Dense(1, 1, bias=False), inputs, 3.0 * inputs, ao.SquaredError())
    start = np.array([-50.0])
    found = ao.measure_stability(problem, horizon=20.0, replacements=2, sizes=[10], steps=20, w0=start)
    at_the_start = gradient_norms(problem, start)
    assert at_the_start.min() * (1 - 1e-12) <= found.kappas[0] <= at_the_start.max() * (1 + 1e-12)


def test_rates_keep_their_digits_beside_a_steep_energy() -> None:
    """A gradient of 1e10 beside a metric of order one: the metric comes out of a difference in which it would drown."""
    problem = ao.Problem(list(XOR.modules), XOR.inputs, 1e10 * XOR.targets, ao.SquaredError())
    found = displacement(problem, W, "layerwise").metric
    exact = ao.LayerMetric(problem, W).dense()
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13 * abs(exact).max())


def test_small_masses_are_refined() -> None:
    """What the factorisation alone leaves is ten times worse; the reference has eighty digits."""
    rng, errors = np.random.default_rng(0), []
    layers = [ao.Dense(3, 6, "tanh"), ao.Dense(6, 2)]
    problem = ao.Problem(layers, rng.standard_normal((9, 3)), rng.standard_normal((9, 2)), ao.SquaredError(), mass=1e-8)
    w, c = problem.initial_weights(0), rng.standard_normal(problem.size)
    for part in ao.BatchedMetric(problem, w[None]).blocks:
        assert isinstance(part, batched_module._Stack)
        right = c[part.weights] / part.root[:, 0]
        found = part.solve(c[None, part.weights, None])[0, :, 0] * part.root[:, 0]
        plain = part._scaled_solve(right[None, :, None])[0, :, 0]
        rows = mpmath.matrix(part.rows[0].tolist())
        with mpmath.workdps(80):
            given = mpmath.matrix(right.tolist())
            inner = mpmath.lu_solve(rows * rows.T + mpmath.eye(rows.rows), rows * given)
            exact = np.array([float(v) for v in given - rows.T * inner])
        errors.append([np.linalg.norm(x - exact) / np.linalg.norm(exact) for x in (plain, found)])
    plainly, refined = np.max(errors, axis=0)
    assert refined < 1e-9
    assert refined < 0.1 * plainly


def test_the_error_of_a_solution_is_told_in_no_units() -> None:
    """A right-hand side times 1e-12 has a solution times 1e-12, and the same relative error."""
    one, c = block(6, 4, scale=3e3), np.arange(1.0, 7.0)
    errors, solutions = [], []
    for size in (1.0, 1e-12):
        solver = BlockSolver(one, "primal", 1e-13, accept=1e-6)
        solutions.append(solver.solve(size * c) / size)
        errors.append(solver.error)
    np.testing.assert_allclose(solutions[0], solutions[1], rtol=1e-12)
    assert errors[1] == pytest.approx(errors[0], rel=0.5)


def test_lengths_along_a_krylov_path_are_those_of_its_steps() -> None:
    """In the norm of the preconditioner's inverse, at every radius on the way."""
    rng = np.random.default_rng(3)
    root = rng.standard_normal((6, 6))
    h, p = root @ root.T + np.eye(6), np.diag(rng.uniform(0.5, 2.0, 6))
    path = krylov_path(
        rng.standard_normal(6), lambda v: h @ v, lambda r: np.linalg.solve(p, r), radius=100.0, tol=1e-12
    )
    whole = path.within(100.0).length
    for radius in np.linspace(0.05, 1.5, 12) * whole:
        step = path.within(radius)
        assert step.length == pytest.approx(float(np.sqrt(step.direction @ p @ step.direction)), rel=1e-9)
        assert step.length <= radius * (1 + 1e-12)


def test_a_guess_with_a_finite_value_and_an_infinite_force_is_named() -> None:
    """sqrt at zero: the value is zero, its slope infinite."""
    root = ao.Lagrangian(1, lambda ops, w, v: ops.sum(v * v / 2 + ops.sqrt(w * w * w * w) ** 0.5))
    with pytest.raises(ao.InputError, match="not finite at the guess"):
        ao.minimize_action(root, [0.0], [0.0], horizon=1.0, steps=4, guess=np.zeros((5, 1)))
    assert callable(check_guess)


def test_a_start_where_the_gradient_nearly_vanishes_is_marched_from() -> None:
    """From the top of a barrier into a well: beside the gradient at the start, rounding later on would be an error."""
    loss = ao.CustomLoss(lambda ops, y, t: ops.sum(0.25 * y**4 - 0.5 * y * y + 0.3))
    problem = ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)
    found = ao.flow(problem, [1e-12], horizon=40.0, steps=400)
    assert found.status == "converged"
    assert found.weights[-1, 0] == pytest.approx(1.0, rel=1e-6)
    assert "explicit" not in found.stats


def test_a_folder_that_can_be_read_alone_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    asked: list[int] = []

    def access(path: Any, mode: int) -> bool:
        asked.append(mode)
        return mode != os.W_OK

    monkeypatch.setattr(points.os, "access", access)
    with pytest.raises(ao.InputError, match="is no folder that can be written to"):
        points.check_out(tmp_path / "out.npz")
    assert asked == [os.W_OK]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("name", ["flow", "action"])
def test_progress_is_shown_on_terminals(name: str, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(SolverError):
        pass

    shown: list[bool] = []

    def solver(*arguments: Any, progress: bool, **options: Any) -> Any:
        shown.append(progress)
        raise Stopped("enough")

    module = {"flow": flow_command, "action": action_command}[name]
    monkeypatch.setattr(module, {"flow": "flow", "action": "continue_action"}[name], solver)

    class Terminal:
        stderr = type("Stream", (), {"isatty": staticmethod(lambda: terminal)})()

    monkeypatch.setattr(module, "sys", Terminal)
    CliRunner().invoke(main, [name, xor.__file__, "--horizon", "1"])
    assert shown == [terminal]


def test_temporary_files_lie_beside_what_they_replace(tmp_path: Path) -> None:
    """On another disk they could not be moved in one step."""
    with replacing(tmp_path / "file.txt") as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("whole")


def test_a_file_that_fails_leaves_no_module_behind(tmp_path: Path) -> None:
    path = tmp_path / "fails_only_here.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ao.InputError, match="ZeroDivisionError"):
        load_file(path)
    assert not [name for name in sys.modules if "fails_only_here" in name]
    path.write_text("x = 3\n")
    assert load_file(path).x == 3
    path.write_text("1 / 0\n")
    with pytest.raises(ao.InputError, match="ZeroDivisionError"):
        load_file(path)
    assert [sys.modules[name].x for name in sys.modules if "fails_only_here" in name] == [3]  # the earlier one


def read(folder: Path, nodes: list[Any], lies: tuple[int, int], **constants: Any) -> ao.Problem:
    proto = model(nodes, constants, shape=lies)
    inputs = np.random.default_rng(0).standard_normal((7, 4))
    problem = ao.Problem.from_onnx(saved(proto, folder), inputs, np.zeros((7, 3)), ao.SquaredError())
    data = inputs if lies[1] == 4 else inputs.T
    expected = evaluate(proto, data)
    outputs = problem.outputs(problem.initial_weights())
    np.testing.assert_allclose(outputs, expected if expected.shape == outputs.shape else expected.T, rtol=1e-13)
    return problem


WEIGHTS = np.random.default_rng(1).standard_normal((4, 3))


@pytest.mark.parametrize("target", [[7, -1], [-1, 4], [0, -1], [0, 4], [7, 4]])
def test_onnx_shapes_that_keep_the_samples(tmp_path: Path, target: list[int]) -> None:
    """The graph was exported for seven samples, and may say so."""
    nodes = [node("Reshape", "x", "shape", out="r"), node("MatMul", "r", "W", out="y")]
    read(tmp_path, nodes, (7, 4), shape=np.array(target), W=WEIGHTS)


def test_onnx_graphs_that_lie_turned_and_start_with_a_skip(tmp_path: Path) -> None:
    """Features first: x + V tanh(U x), then W x; only the products tell how the data lie."""
    rng = np.random.default_rng(2)
    nodes = [
        node("Transpose", "x", out="t"),
        node("MatMul", "t", "U", out="u"),
        node("Tanh", "u", out="h"),
        node("Add", "t", "h", out="s"),
        node("MatMul", "s", "W", out="y"),
    ]
    read(tmp_path, nodes, (4, 7), U=rng.standard_normal((4, 4)), W=WEIGHTS)


def test_arrays_of_a_run_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "arrays.npz"
    save_arrays(path, {"a": np.arange(3.0)})

    def half(file: Any, **arrays: Any) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(ao.InputError, match="No space left on device"):
        save_arrays(path, {"a": np.arange(4.0)})
    assert load_arrays(path)["a"].tolist() == [0.0, 1.0, 2.0]
