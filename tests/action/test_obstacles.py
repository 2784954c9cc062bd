"""Conditions on positions hold along the whole curve, or the status is not "converged"."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao

SCHEMES = ["midpoint", "gauss2"]


def around(radius: float) -> ao.Lagrangian:
    """Least `1/2 v^2` outside a disc."""

    def inside(ops: Any, w: Any, v: Any) -> Any:
        return radius**2 - ops.sum(w * w, keepdims=True)

    return ao.Lagrangian(2, lambda ops, w, v: 0.5 * ops.sum(v * v), constraint=inside, name="disc")


def shortest(radius: float) -> float:
    """From (-1, 0) to (1, 0) in T = 1: two tangents and an arc."""
    length = 2.0 * np.sqrt(1.0 - radius**2) + radius * (np.pi - 2.0 * np.arccos(radius))
    return 0.5 * float(length) ** 2


def closest(path: ao.Trajectory) -> float:
    return float(np.linalg.norm(path.resample(np.linspace(0.0, 1.0, 2000)), axis=1).min())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("radius", "steps", "off"), [(0.5, 10, 0.0), (0.5, 11, 1e-3), (0.05, 10, 1e-3), (0.05, 11, 1e-3)]
)
def test_no_step_leads_over_a_disc(radius: float, steps: int, off: float, scheme: str) -> None:
    """A disc smaller than a step as well; straight through its centre the guess is bent to a side."""
    found = ao.minimize_action(around(radius), [-1.0, off], [1.0, off], horizon=1.0, steps=steps, scheme=scheme)
    assert closest(found) > 0.995 * radius
    assert found.action == pytest.approx(shortest(radius), rel=0.02)
    assert 0.0 <= found.stats["constraint_violation"] < 1e-2 * radius**2
    assert "along the curve constraints are broken by" in found.message


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
@pytest.mark.parametrize("steps", [3, 10, 40])
def test_a_wall_stays_shut(steps: int, solver: str) -> None:
    """In one dimension there is no way around."""
    wall = ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(v * v), constraint=lambda ops, w, v: 0.01 - (w - 0.37) ** 2)
    found = ao.minimize_action(wall, [0.0], [1.0], horizon=1.0, steps=steps, solver=solver, throw=False)
    assert not found.success
    assert found.status in ("underresolved", "infeasible", "iteration limit", "stopped")


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_multipliers_at_nodes_push_the_momentum(solver: str) -> None:
    """Pulled up against a ceiling that moves, `w <= 0.3 - (t - 1/2)^2`: momenta jump at the nodes that touch it."""
    lifted = ao.Lagrangian(
        1,
        lambda ops, w, v: ops.sum(0.5 * v * v - 5.0 * w),
        constraint=lambda ops, w, v, t: w - 0.3 + (t - 0.5) ** 2,
    )
    found = ao.minimize_action(lifted, [0.0], [0.0], horizon=1.0, steps=20, solver=solver, tol=1e-9)
    pushing = found.stats["multipliers"]["path_nodes"]
    assert pushing.shape == (21, 1)
    assert pushing.max() > 1e-2
    jumps = found.node_momenta - found.stats["multipliers"]["costates"]
    np.testing.assert_allclose(jumps[1:-1], pushing[1:-1], atol=1e-7)
    assert found.stats["residual"] <= 1e-9
    assert (found.weights[:, 0] <= 0.3 - (found.times - 0.5) ** 2 + 1e-8).all()


def test_velocities_are_limited_at_the_stages_and_looked_at_between() -> None:
    """A limit that moves with the position: broken between stages to the order of the scheme, and said."""
    limited = ao.Lagrangian(
        1, lambda ops, w, v: 0.5 * ops.sum((v - 2.0) ** 2), constraint=lambda ops, w, v: v - 1.0 - 0.1 * w
    )
    broken = [
        ao.minimize_action(limited, [0.0], horizon=1.0, steps=steps).stats["constraint_violation"] for steps in (5, 20)
    ]
    assert broken[0] == pytest.approx(4.0 * broken[1], rel=0.1)
    assert broken[0] < 0.02


def test_bounds_on_a_problem_are_not_the_projected_flow() -> None:
    """E = (w + 1)^2 / 2 with w >= 0: the projected flow ends in 0, where the path of least action never arrives."""
    hill = ao.Drift(1, lambda ops, w: -(w + 1.0), bounds=(0.0, np.inf))
    found = ao.minimize_action(hill, [1.0], horizon=3.0, steps=60, scheme="gauss2")
    projected = np.maximum(2.0 * np.exp(-found.times) - 1.0, 0.0)
    assert found.action > 0.1
    assert abs(found.weights[:, 0] - projected).max() > 0.02
