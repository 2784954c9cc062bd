"""CasADi's programs of the action on networks that are graphs: both formulations against the Newton solver."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.program.flow_stage import FlowStage, extra_values
from tests.networks import NETWORKS, recurrent, tied, two_heads

METRICS = ("layerwise", "joint", "euclidean")
SMALL = {
    "recurrent": recurrent(steps=2, samples=2, width=2, every=True),
    "tied": tied(samples=2),
    "two heads": two_heads(samples=2),
    "prior": NETWORKS["prior"].take([0, 1]),
    "twice in a list": NETWORKS["one module twice in a list"].take([0, 1]),
}


@pytest.mark.parametrize("lifted", [False, True], ids=["condensed", "lifted"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", SMALL)
def test_stage_is_the_density_and_its_equations_hold(
    name: str, metric: str, lifted: bool, rng: np.random.Generator
) -> None:
    problem = SMALL[name]
    if name == "prior":
        problem = problem.take(slice(None))
        problem.output_metric = "euclidean"
    stage = FlowStage(problem, metric, lifted)
    function = ca.Function("stage", [stage.w, stage.v, stage.extra], [stage.density, ca.vertcat(*stage.equalities)])
    w, v = problem.initial_weights(1)[None], rng.standard_normal((1, problem.size))
    extra = extra_values(problem, metric, w, lifted)
    assert extra.shape[1] == stage.extra.numel()
    density, equations = (np.asarray(out).ravel() for out in function(w[0], v[0], extra[0]))
    expected = GradientFlowDensity(problem, metric).expand(w, v).value
    np.testing.assert_allclose(density, expected, rtol=1e-10)
    np.testing.assert_allclose(equations, 0.0, atol=1e-12)


@pytest.mark.parametrize("formulation", ["condensed", "lifted"])
def test_solvers_agree(formulation: str) -> None:
    problem = SMALL["recurrent"]
    w = problem.initial_weights(1)
    end = ao.flow(problem, w, horizon=0.3, steps=2).weights[-1] + 0.02
    options = {"horizon": 0.3, "steps": 2, "metric": "joint"}
    newton = ao.minimize_action(problem, w, end, solver="newton", **options)
    found = ao.minimize_action(problem, w, end, solver="ipopt", formulation=formulation, **options)
    assert found.action == pytest.approx(newton.action, rel=1e-6)
    np.testing.assert_allclose(found.weights, newton.weights, atol=1e-5)


def test_constant_flow_of_a_network_as_one_graph() -> None:
    problem = SMALL["prior"].take(slice(None))
    problem.output_metric = None
    w = problem.initial_weights(1)
    end = ao.flow(problem, w, horizon=0.3, steps=2).weights[-1] + 0.02
    options = {"horizon": 0.3, "steps": 2}
    newton = ao.minimize_action(problem, w, end, solver="newton", **options)
    found = ao.minimize_action(problem, w, end, solver="ipopt", **options)
    assert found.action == pytest.approx(newton.action, rel=1e-6)
