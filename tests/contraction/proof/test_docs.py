"""The page on proofs runs as it is written, and its figures are those of the benchmark's cases."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.proof.derivatives import box_of, derivatives
from actionopt.contraction.proof.refute import find_counterexample
from benchmarks.proofs import CASES, genes
from tests.contraction.proof.test_ball import in_ball

PAGE = (Path(__file__).parents[3] / "docs" / "proofs.md").read_text()


def test_the_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    said = re.findall(r"# (.*)$", code, re.MULTILINE)
    assert capsys.readouterr().out.split("\n")[0] == said[0]


def test_the_functions_it_names_exist() -> None:
    for name in set(re.findall(r"`ao\.(\w+)\(", PAGE)):
        assert callable(getattr(ao, name))


@pytest.mark.parametrize("index", range(len(CASES)))
def test_the_benchmark_proves_at_least_what_the_first_prototype_did(index: int) -> None:
    """And no point of 200 in the ball has a smaller rate."""
    name, build, first = CASES[index]
    problem, centre = build()
    proof = ao.prove_contraction(problem, centre)
    assert proof.radius >= first, name
    assert proof.basin
    points = in_ball(problem, centre, min(proof.radius, 1e3), 200)
    hessians = derivatives(problem, box_of(problem, points, 0.0), 2)[2]
    assert np.linalg.eigvalsh(0.5 * (hessians.lo + hessians.hi)).min() >= proof.rate


def test_gene_3_is_within_ten_times_what_is_refuted() -> None:
    problem, centre = genes(3, 0.1)
    radius = ao.prove_contraction(problem, centre).radius
    found = find_counterexample(problem, centre, 10.0 * radius, 0.0, "euclidean")
    assert found is not None
    assert found[1] < 0.0
