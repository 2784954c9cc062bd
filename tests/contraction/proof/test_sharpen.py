"""Derivatives over a ball, sharpened node by node, hold those at its points and are narrower than over the box."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.proof.derivatives import box_of, derivatives
from actionopt.contraction.proof.sharpen import Centre, sharpened
from actionopt.ops.rounded import Interval
from problems import gene_cascade
from tests.contraction.proof.test_ball import in_ball


def chain() -> ao.Problem:
    rng = np.random.default_rng(0)
    net = [ao.Dense(1, 2, "tanh"), ao.Dense(2, 1, "sigmoid")]
    return ao.Problem(
        net, rng.standard_normal((3, 1)), rng.uniform(0, 1, 3), ao.SquaredError(), mass=0.5, weight_decay=0.1
    )


def graph() -> ao.Problem:
    """Shared weights, two inputs of one node, and a node without weights."""
    rng = np.random.default_rng(1)
    x = ao.Input(rng.standard_normal((3, 1)))
    cell = ao.Dense(1, 1, "tanh")
    square = ao.Map(lambda ops, z: z * z, 1, 1)
    once = cell(x)
    read = ao.Dense(3, 1)
    return ao.Problem([ao.Cost(read(cell(once), square(x), square(once)), ao.SquaredError(), [[0.1], [0.2], [0.3]])])


PROBLEMS = {"chain": chain, "graph": graph, "exponentials": lambda: gene_cascade.build(genes=2, doses=4)}


@pytest.mark.parametrize("name", sorted(PROBLEMS))
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_what_is_sharpened_holds_the_points_of_the_ball(name: str, order: int) -> None:
    problem = PROBLEMS[name]()
    centre, radius = 0.5 * problem.initial_weights(0), 0.02
    known = Centre(problem, centre, order - 1)
    box = box_of(problem, centre, radius)
    wide = derivatives(problem, box, order)
    found = derivatives(problem, box, order, lambda ops: known.sharper(ops, radius))
    found = sharpened(found, derivatives(problem, box_of(problem, centre, 0.0), order - 1), radius)
    narrower = [np.linalg.norm(a.hi - a.lo) / np.linalg.norm(b.hi - b.lo) for a, b in zip(found, wide, strict=True)]
    assert max(narrower) <= 1.0 + 1e-6
    if order > 2:
        assert max(narrower[:-2]) < 0.9
    for w in in_ball(problem, centre, radius, 12):
        for k, here in enumerate(derivatives(problem, box_of(problem, w, 0.0), order)):
            assert (found[k].lo <= here.hi).all()
            assert (here.lo <= found[k].hi).all()


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_squared_errors_have_the_derivatives_of_jets_through_the_loss(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = PROBLEMS[name]()
    w = problem.initial_weights(0)
    for box in (box_of(problem, w, 0.0), box_of(problem, np.stack([w, 0.5 * w]), 0.01)):
        closed = derivatives(problem, box, 4)
        with monkeypatch.context() as patch:
            patch.setattr("actionopt.contraction.proof.derivatives.all_squared", lambda network: False)
            twin = derivatives(problem, box, 4)
        for a, b in zip(closed, twin, strict=True):
            assert a.shape == b.shape
            assert (a.lo <= b.hi).all()
            assert (b.lo <= a.hi).all()
            if box.is_point:
                np.testing.assert_allclose(0.5 * (a.lo + a.hi), 0.5 * (b.lo + b.hi), rtol=1e-9, atol=1e-11)


def test_a_ball_reaches_as_far_as_it_says() -> None:
    """For `f = sum w` over `|w| <= R` in n dimensions the range is exactly `R sqrt(n)`, a box has n R."""
    n, radius = 16, 0.5
    value, slope = Interval(np.array(-n * radius), np.array(n * radius)), Interval(np.ones(n), np.ones(n))
    found = sharpened([value, slope], [Interval(np.array(0.0), np.array(0.0))], radius)[0]
    assert radius * np.sqrt(n) <= found.hi <= radius * np.sqrt(n) * (1.0 + 1e-12)
    assert -found.lo == found.hi
