"""The page on proofs runs as it is written, and its figures are those of the benchmark's cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import actionopt as ao

PAGE = (Path(__file__).parents[3] / "docs" / "proofs.md").read_text()


def test_the_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    said = re.findall(r"# (.*)$", code, re.MULTILINE)
    assert capsys.readouterr().out.split("\n")[0] == said[0]


def test_the_functions_it_names_exist() -> None:
    for name in set(re.findall(r"`ao\.(\w+)\(", PAGE)):
        assert callable(getattr(ao, name))


@pytest.mark.slow
def test_the_benchmark_proves_at_least_what_the_first_prototype_did() -> None:
    from benchmarks.proofs import CASES

    for name, build, first in CASES:
        problem, centre = build()
        assert ao.prove_contraction(problem, centre).radius >= first, name
