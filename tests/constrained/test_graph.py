"""Programs over networks: shared weights, several costs, skips; blocks against CasADi's own derivatives, stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.constrained.graph import SymbolicNetwork
from actionopt.constrained.layout import lay_out, stages_of
from actionopt.constrained.lifted import LiftedProgram
from actionopt.constrained.task import make_task
from actionopt.constrained.training import transcribe
from tests.constrained.systems import data

PROBLEMS = Path(__file__).parents[2] / "problems"


def recurrent(steps: int = 4, samples: int = 3) -> ao.Problem:
    cell, read = ao.Dense(3 + 2, 3, "tanh"), ao.Dense(3, 1)
    state: Any = ao.Input(np.zeros((samples, 3)), name="start")
    for t in range(steps):
        state = cell(ao.Input(data(samples, 2, t), name=f"x{t}"), state)
    return ao.Problem([ao.Cost(read(state), ao.SquaredError(), data(samples, 1))], weight_decay=0.02)


def heads() -> ao.Problem:
    """Two inputs, a trunk, two heads; a skip over the trunk; one head is weighted."""
    a, b = ao.Input(data(4, 2), name="a"), ao.Input(data(4, 1, 6), name="b")
    trunk = ao.Dense(3, 3, "tanh")(a, b)
    left = ao.Dense(3, 2)(trunk)
    right = ao.Dense(4, 3)(trunk, b)
    costs = [
        ao.Cost(left, ao.SquaredError(), data(4, 2, 7), weight=0.3),
        ao.Cost(right, ao.SoftmaxCrossEntropy(), [0, 1, 2, 1]),
    ]
    return ao.Problem(costs, weight_decay=0.05)


def twice() -> ao.Problem:
    """One state taken twice by one node, and a hidden node with a cost of its own."""
    hidden = ao.Dense(2, 2, "tanh")(ao.Input(data(3, 2)))
    both = ao.Dense(4, 1)(hidden, hidden)
    costs = [
        ao.Cost(both, ao.SquaredError(), data(3, 1)),
        ao.Cost(hidden, ao.SquaredError(), data(3, 2, 8), weight=0.1),
    ]
    return ao.Problem(costs, weight_decay=0.05)


def tied() -> ao.Problem:
    encoder = ao.Dense(3, 2, bias=False)
    x = ao.Input(data(6, 3))
    code = encoder(x)
    return ao.Problem([ao.Cost(ao.Transposed(encoder)(code), ao.SquaredError(), data(6, 3))])


NETWORKS: dict[str, Callable[[], ao.Problem]] = {
    "recurrent": recurrent,
    "two heads": heads,
    "taken twice": twice,
    "tied": tied,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("limited", [False, True])
def test_derivatives_by_blocks_are_casadi_s_own(name: str, limited: bool) -> None:
    problem = NETWORKS[name]()
    constraints: list[Any] = []
    if limited:
        node = problem.nodes[len(problem.network.data)].name
        of_states = ao.Constraint(lambda ops, z: ops.sum(z * z * z), on=node, upper=1.0)
        of_weights = ao.Constraint(lambda ops, w: ops.sum(ops.exp(w)), on=problem.groups[0].module, upper=9.0)
        constraints = [of_states, of_weights]
    placed = make_task(problem, None, solver="ipopt", constraints=constraints).constraints
    for sign, fixed in ((1, False), (-1, False)):
        program = LiftedProgram(SymbolicNetwork(problem), sign, constraints=placed, fixed=fixed)
        given = program.derivatives
        x = ca.SX.sym("x", program.layout.size)
        lam = ca.SX.sym("lam", program.layout.rows)
        functions = ca.Function("f", [program.x], [program.energy, program.equations]).expand()
        energy, equations = functions(x)
        own = ca.Function(
            "own", [x, lam], [ca.jacobian(equations, x), ca.hessian(0.7 * energy + ca.dot(lam, equations), x)[0]]
        )
        blocks = ca.Function("blocks", [program.x, given.lam_f, given.lam_g], [given.jacobian, given.hessian])
        rng = np.random.default_rng(0)
        at, mu = 0.3 * rng.standard_normal(x.numel()), rng.standard_normal(lam.numel())
        for expected, actual in zip(own(at, mu), blocks(at, 0.7, mu), strict=True):
            np.testing.assert_allclose(actual.full(), expected.full(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
@pytest.mark.parametrize("name", NETWORKS)
def test_multipliers_are_the_adjoints_of_every_node(name: str, solver: str) -> None:
    problem = NETWORKS[name]()
    w = problem.initial_weights(2)
    check = ao.check_adjoints(problem, w, solver=solver)
    assert check.ok
    assert check.relative_error <= 1e-10
    assert check.gradient_error <= 1e-10
    assert len(check.modules) == len(problem.modules)


def test_a_recurrent_cell_of_twenty_steps_has_a_row_a_step() -> None:
    from problems.recurrent import build, through_time

    problem = build()
    w = problem.initial_weights(1)
    check = ao.check_adjoints(problem, w)
    assert len(check.modules) == 21
    assert check.relative_error <= 1e-10
    _, costates = through_time(problem, w)
    np.testing.assert_allclose(np.stack(check.multipliers[:20]), costates, atol=1e-13)


@pytest.mark.parametrize("name", NETWORKS)
def test_solvers_end_in_the_same_energy(name: str) -> None:
    problem = NETWORKS[name]()
    w0 = 0.5 * problem.initial_weights(1)
    for formulation in ("lifted", "condensed"):  # whose iterates may end in different minima
        found = [ao.train(problem, w0, solver=solver, formulation=formulation) for solver in ("ipopt", "fatrop")]
        assert found[0].energy == pytest.approx(found[1].energy, rel=1e-7, abs=1e-12)
        assert max(solution.adjoint_error for solution in found) <= 1e-8


def test_stages_lie_between_the_cuts_of_the_order() -> None:
    chain = ao.Problem(
        [ao.Dense(2, 3, "tanh"), ao.Dense(3, 2), ao.Dense(2, 1)], data(4, 2), data(4, 1), ao.SquaredError()
    )
    assert [stage.end for stage in stages_of(chain.network)] == [0, 1, 2, None]
    assert lay_out(chain.network).stages.states == (0, 12, 8, 4)
    assert lay_out(chain.network).stages.controls == (9, 8, 3, 0)
    shared = stages_of(recurrent().network)
    assert [stage.end for stage in shared] == [3, 4, None]  # the cell's steps hold together, the reader is a stage
    assert shared[0].inner == (0, 1, 2)
    assert [stage.end for stage in stages_of(recurrent().network, fixed=True)] == [0, 1, 2, 3, 4, None]
    skip = stages_of(heads().network)
    assert [stage.end for stage in skip] == [0, 2, None]  # both heads take the trunk's state
    assert skip[1].inner == (1,)


def test_a_stage_too_wide_for_fatrop_is_refused() -> None:
    problem = ao.load_problem(PROBLEMS / "recurrent.py", steps=20)
    with pytest.raises(ao.InputError, match=r"solver 'fatrop' factorises stages densely.*take solver='ipopt'"):
        ao.train(problem, solver="fatrop")


def test_proximal_steps_on_networks() -> None:
    for name in ("recurrent", "two heads", "tied"):
        problem = NETWORKS[name]()
        w = problem.initial_weights(2)
        found = ao.proximal_step(problem, w, 0.2, linearized=True)
        np.testing.assert_allclose(found.weights, ao.step(problem, w, 0.2), rtol=1e-7, atol=1e-9)
        implicit = ao.proximal_step(problem, w, 0.2)
        residual = problem.gradient(implicit.weights) + ao.LayerMetric(problem, w) @ (implicit.weights - w) / 0.2
        assert abs(residual).max() < 1e-7


def test_blocks_build_fast_where_weights_are_shared() -> None:
    """No timing: CasADi's own Hessian of five steps has as many operations as the blocks of one, five times over."""
    short, long = (SymbolicNetwork(recurrent(steps)) for steps in (1, 5))
    assert (
        len({id(function) for function in long.functions}) == len({id(function) for function in short.functions}) == 2
    )
    assert transcribe(make_task(recurrent(5), None, solver="ipopt", formulation="lifted"))
