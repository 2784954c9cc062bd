"""`actionopt run` in other units: loss and mass times c change the energies, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actionopt.report.run import Run, run_stages
from actionopt.report.stages import Options

SOURCE = """
import numpy as np
import actionopt as ao

def build(c=1.0):
    x = np.linspace(-1.0, 1.0, 6)
    loss = ao.CustomLoss(lambda ops, y, t: 0.5 * c * ops.sum((y - t) * (y - t)))
    layers = [ao.Dense(1, 2, "tanh"), ao.Dense(2, 1)]
    return ao.Problem(layers, x, np.sin(2.0 * x), loss, mass=0.1 * c, weight_decay=1e-3 * c)
"""
SCALED = (
    "energy",
    "hamiltonian",
    "action",
    "kinetic",
    "potential",
    "certificate",
    "error",
    "gradient",
    "defect",
    "distance",
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("reference"), 1.0)


def run(folder: Path, c: float) -> Run:
    file = folder / "mine.py"
    file.write_text(SOURCE)
    return run_stages(file, {"c": c}, folder / "out", Options(), finish=lambda workspace, run: None)


def unscaled(summary: dict[str, Any]) -> dict[str, float]:
    """Return the figures that have no unit of energy."""
    return {
        name: value
        for name, value in summary.items()
        if isinstance(value, (int, float)) and not any(word in name for word in SCALED) and "seconds" not in name
    }


@pytest.mark.slow
@pytest.mark.parametrize("c", [10.0**k for k in range(-12, 11, 2) if k])
def test_run_is_the_same_in_other_units(reference: Run, c: float, tmp_path: Path) -> None:
    scaled = run(tmp_path, c)
    states = {name: record.state for name, record in scaled.records.items()}
    assert states == {name: record.state for name, record in reference.records.items()}
    for name in ("flow", "action", "contraction"):
        if name not in reference.records:
            continue
        expected = unscaled(reference.records[name].summary)
        found = unscaled(scaled.records[name].summary)
        assert found.keys() == expected.keys()
        for entry, value in expected.items():
            assert found[entry] == pytest.approx(value, rel=1e-5, abs=1e-9), (name, entry)
