"""Pairs of pairs against the recursion stage by stage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from actionopt.newton.pairing import Paired, factorised
from actionopt.newton.riccati import Riccati, Stacked


def program(length: int, d: int, n: int, definite: float = 6.0, seed: int = 0) -> tuple[Stacked, np.ndarray]:
    rng = np.random.default_rng(seed)
    bent = rng.standard_normal((length + 1, d + n, d + n))
    hessian = 0.5 * (bent + bent.swapaxes(1, 2)) + definite * np.eye(d + n)
    stages = Stacked(
        0.7 * rng.standard_normal((length, 1, d, d)),
        rng.standard_normal((length, 1, d, n)),
        hessian[:-1, None, :d, :d],
        hessian[:-1, None, :d, d:],
        hessian[:-1, d:, d:],
    )
    return stages, hessian[-1:, :d, :d]


@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize(("length", "d", "n"), [(60, 2, 1), (64, 2, 1), (9, 3, 2), (13, 4, 3), (8, 1, 5), (11, 2, 7)])
def test_pairs_are_the_stages(length: int, d: int, n: int, shift: float) -> None:
    stages, end = program(length, d, n)
    rng = np.random.default_rng(1)
    one, paired = Riccati(list(stages), end, shift), factorised(stages, end, shift)
    assert isinstance(paired, Paired)
    for columns in ((), (3,)):
        c, q, r = (rng.standard_normal((length * size, *columns)) for size in (d, d, n))
        expected, found = one.solve(c, q, r), paired.solve(c, q, r)
        for name in ("weights", "states", "multipliers"):
            exact = getattr(expected, name)
            np.testing.assert_allclose(getattr(found, name), exact, atol=1e-10 * max(1.0, abs(exact).max()))


def test_they_factorise_exactly_where_the_stages_do() -> None:
    verdicts = []
    for seed in range(12):
        stages, end = program(10, 2, 1, definite=1.5, seed=seed)
        found = []
        for factorise in (Riccati, factorised):
            try:
                factorise(stages, end)
            except LinAlgError:
                found.append(False)
            else:
                found.append(True)
        assert found[0] == found[1]
        verdicts.append(found[0])
    assert set(verdicts) == {True, False}


def test_what_is_large_or_short_goes_stage_by_stage() -> None:
    for stages, end in (program(3, 2, 1), program(20, 9, 1, 20.0), program(20, 2, 9, 20.0)):
        assert isinstance(factorised(stages, end), Riccati)
