"""Composition rules against dense eigenvalue problems of random block systems."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionopt as ao
from actionopt.contraction.compose import rate_in_scaling

SEEDS = st.integers(0, 100_000)


def rate(jacobian: np.ndarray) -> float:
    """Contraction rate of `x' = J x` in the identity metric."""
    return float(np.linalg.eigvalsh(-0.5 * (jacobian + jacobian.T))[0])


class Blocks:
    """A random block system with its modules' rates and gains."""

    def __init__(self, seed: int, modules: int, contracting: bool = True) -> None:
        rng = np.random.default_rng(seed)
        ends = np.cumsum([0, *rng.integers(1, 4, modules)])
        self.parts = [slice(a, b) for a, b in pairwise(ends)]
        self.jacobian = rng.standard_normal((ends[-1], ends[-1])) * rng.uniform(0.0, 1.5)
        for part in self.parts:
            block = self.jacobian[part, part]
            shift = rate(block) - rng.uniform(0.1, 3.0) if contracting else 0.0
            block += shift * np.eye(len(block))

    @property
    def rates(self) -> np.ndarray:
        return np.array([rate(self.jacobian[part, part]) for part in self.parts])

    @property
    def gains(self) -> np.ndarray:
        norms = [[np.linalg.norm(self.jacobian[a, b], 2) for b in self.parts] for a in self.parts]
        return np.array(norms) * (1.0 - np.eye(len(self.parts)))

    def whole(self, scaling: np.ndarray) -> float:
        lengths = np.concatenate([np.full(p.stop - p.start, s) for p, s in zip(self.parts, scaling, strict=True)])
        return rate(lengths[:, None] * self.jacobian / lengths)


@given(SEEDS, st.integers(1, 4))
def test_parallel(seed: int, modules: int) -> None:
    system = Blocks(seed, modules)
    for i, a in enumerate(system.parts):
        for j, b in enumerate(system.parts):
            if i != j:
                system.jacobian[a, b] = 0.0
    composed = ao.parallel_rate(*system.rates)
    assert composed == pytest.approx(system.whole(composed.scaling), abs=1e-12)
    assert composed == pytest.approx(system.whole(np.random.default_rng(seed).uniform(0.1, 9.0, modules)), abs=1e-9)


@given(SEEDS, st.floats(1e-3, 10.0))
def test_series_in_a_scaling(seed: int, eps: float) -> None:
    system = Blocks(seed, 2)
    system.jacobian[system.parts[0], system.parts[1]] = 0.0
    r1, r2 = system.rates
    composed = ao.series_rate(r1, r2, system.gains[1, 0], scaling=eps)
    assert composed <= system.whole(np.array([1.0, eps])) + 1e-12
    assert composed <= system.whole(composed.scaling) + 1e-12
    assert composed <= ao.series_rate(r1, r2, system.gains[1, 0])


@given(SEEDS)
def test_series_is_a_supremum(seed: int) -> None:
    """The rate for the best scaling is approached from below as eps goes to zero, and the whole never falls short."""
    system = Blocks(seed, 2)
    system.jacobian[system.parts[0], system.parts[1]] = 0.0
    r1, r2 = system.rates
    best = ao.series_rate(r1, r2, c := float(system.gains[1, 0]))
    assert best == min(r1, r2)
    assert ao.series_rate(r1, r2, c, scaling=1e-7) == pytest.approx(best, abs=1e-6)
    assert system.whole(np.array([1.0, 1e-7])) >= best - 1e-6
    np.testing.assert_array_equal(best.scaling, [1.0, 0.0])


@given(SEEDS)
def test_feedback(seed: int) -> None:
    system = Blocks(seed, 2)
    (r1, r2), gains = system.rates, system.gains
    composed = ao.feedback_rate(r1, r2, gains[0, 1], gains[1, 0])
    assert composed <= system.whole(composed.scaling) + 1e-9
    assert composed == pytest.approx(rate_in_scaling(system.rates, gains, composed.scaling), abs=1e-9)
    assert (composed > 0) == (r1 * r2 > gains[0, 1] * gains[1, 0])
    # no other scaling shows more
    for other in np.geomspace(1e-3, 1e3, 61):
        assert rate_in_scaling(system.rates, gains, np.array([1.0, other])) <= composed + 1e-9


def test_feedback_is_tight_for_scalar_modules_that_push_the_same_way() -> None:
    composed = ao.feedback_rate(1.0, 2.0, 0.5, 2.0)
    jacobian = np.array([[-1.0, 0.5], [2.0, -2.0]])
    assert composed == pytest.approx(-np.linalg.eigvals(jacobian).real.max(), rel=1e-14)
    np.testing.assert_allclose(composed.scaling, [1.0, 0.5])
    assert ao.feedback_rate(1.0, 1.0, 2.0, 2.0) == -1.0
    assert ao.feedback_rate(1.0, 3.0, 0.0, 0.0) == 1.0


@given(SEEDS, st.integers(1, 5), st.booleans())
def test_network(seed: int, modules: int, contracting: bool) -> None:
    system = Blocks(seed, modules, contracting)
    composed = ao.network_rate(system.rates, system.gains)
    attained = rate_in_scaling(system.rates, system.gains, composed.scaling)
    assert composed == pytest.approx(attained, abs=1e-4)
    assert attained <= system.whole(composed.scaling) + 1e-9
    rng = np.random.default_rng(seed)
    for _ in range(20):
        assert rate_in_scaling(system.rates, system.gains, rng.uniform(0.1, 10.0, modules)) <= composed + 1e-9


@given(SEEDS)
def test_network_of_two_is_the_closed_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r1, r2, c12, c21 = rng.uniform(0.1, 3.0, 4)
    feedback = ao.feedback_rate(r1, r2, c12, c21)
    network = ao.network_rate([r1, r2], [[0.0, c12], [c21, 0.0]])
    assert network == pytest.approx(feedback, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(network.scaling, feedback.scaling, rtol=1e-5)
    assert ao.network_rate([r1, r2], [[0.0, 0.0], [c21, 0.0]]) == pytest.approx(ao.series_rate(r1, r2, c21))


def test_hierarchy_of_three_keeps_its_smallest_rate() -> None:
    composed = ao.network_rate([2.0, 1.0, 3.0], [[0, 0, 0], [5, 0, 0], [1, 4, 0]])
    assert composed == pytest.approx(1.0)
    assert (composed.scaling > 0).all()
    assert rate_in_scaling(
        np.array([2.0, 1.0, 3.0]), np.array([[0.0, 0, 0], [5, 0, 0], [1, 4, 0]]), composed.scaling
    ) == pytest.approx(1.0, abs=1e-3)


def test_small_rates_keep_their_digits() -> None:
    """The smaller eigenvalue comes from the determinant: no cancellation between 1 and sqrt(1 - 1e-12)."""
    assert ao.feedback_rate(1.0, 1e-12, 0.0, 1.0) == 1e-12
    assert ao.feedback_rate(1.0, 2e-12, 1e-6, 1e-6) == pytest.approx(1e-12, rel=1e-11)


def test_a_rate_is_a_number_that_copies_and_pickles() -> None:
    composed = ao.feedback_rate(1.0, 2.0, 0.5, 1.0)
    for twin in (pickle.loads(pickle.dumps(composed)), copy.deepcopy(composed)):
        assert twin == composed
        np.testing.assert_array_equal(twin.scaling, composed.scaling)
    assert isinstance(composed + 1.0, float)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ao.parallel_rate(), "at least one rate"),
        (lambda: ao.parallel_rate(1.0, np.nan), "rate 2 must be finite"),
        (lambda: ao.parallel_rate(1.0, "fast"), "rate 2 must be a number, got 'fast'"),
        (lambda: ao.series_rate(-1.0, 1.0, 1.0), "r1 must be positive: the rule needs modules that contract, got -1"),
        (lambda: ao.series_rate(1.0, 0.0, 1.0), "r2 must be positive"),
        (lambda: ao.series_rate(1.0, 1.0, -0.5), "coupling must be >= 0"),
        (lambda: ao.series_rate(1.0, 1.0, 1.0, scaling=0.0), "scaling must be positive, got 0"),
        (lambda: ao.feedback_rate(1.0, -2.0, 1.0, 1.0), "r2 must be positive"),
        (lambda: ao.feedback_rate(1.0, 2.0, -1.0, 1.0), "c12 must be >= 0"),
        (lambda: ao.feedback_rate(1.0, 2.0, 1.0, -1.0), "c21 must be >= 0"),
        (lambda: ao.feedback_rate(1.0, 2.0, 1.0, np.inf), "c21 must be finite"),
        (lambda: ao.network_rate([1.0, 2.0], np.zeros((3, 3))), r"gains must have shape \(2, 2\)"),
        (lambda: ao.network_rate([1.0, 2.0], [[0.0, -1.0], [0.0, 0.0]]), "gains must be finite and >= 0"),
    ],
)
def test_rejections(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ao.InputError, match=message):
        call()
