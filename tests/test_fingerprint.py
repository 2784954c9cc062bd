"""What a run depends on: data files, neighbours and versions, not the problem file's text alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from actionopt import fingerprint as module
from actionopt.fingerprint import fingerprint
from actionopt.report.run import run_stages
from actionopt.report.stages import Options

SOURCE = """
from pathlib import Path
import numpy as np
import actionopt as ao
from neighbour_of_fingerprint import SCALE

def build():
    x = np.loadtxt(Path(__file__).with_name("data.txt"))
    return ao.Problem(ao.Dense(1, 1), x, SCALE * x, ao.SquaredError(), weight_decay=0.1)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    np.savetxt(tmp_path / "data.txt", [1.0, 2.0])
    (tmp_path / "neighbour_of_fingerprint.py").write_text("SCALE = 2.0\n")
    return tmp_path / "mine.py"


def run(file: Path) -> tuple[str, ...]:
    options = Options(horizon=1.0, steps=10)
    return run_stages(file, {}, file.parent / "out", options, finish=lambda workspace, run: None).repeated


def test_changed_data_repeat_the_stages(file: Path) -> None:
    assert run(file)
    assert run(file) == ()
    np.savetxt(file.parent / "data.txt", [1.0, 3.0])
    assert "flow" in run(file)
    assert run(file) == ()


def test_other_versions_repeat_the_stages(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(file)
    monkeypatch.setattr("actionopt.report.run.libraries", lambda: {**module.libraries(), "numpy": "0.0"})
    assert "flow" in run(file)


def problem(**changed: object) -> ao.Problem:
    options = {"mass": 1.0, "weight_decay": 0.0, "targets": np.ones(3), "activation": "tanh", **changed}
    layers = [ao.Dense(1, 2, str(options.pop("activation"))), ao.Dense(2, 1)]
    targets = options.pop("targets")
    return ao.Problem(layers, [0.0, 1.0, 2.0], targets, ao.SquaredError(), **options)  # type: ignore[arg-type]


def test_the_same_problem_has_the_same_digest() -> None:
    assert fingerprint(problem()) == fingerprint(problem())


@pytest.mark.parametrize(
    "changed",
    [
        {"mass": 2.0},
        {"weight_decay": 1e-12},
        {"targets": np.array([1.0, 1.0, 1.0 + 1e-15])},
        {"activation": "sin"},
        {"output_metric": None},
        {"name": "other"},
    ],
)
def test_whatever_differs_shows(changed: dict[str, object]) -> None:
    assert fingerprint(problem(**changed)) != fingerprint(problem())


def test_lagrangians_by_the_values_of_their_formulas() -> None:
    def system(factor: float, **options: object) -> ao.Lagrangian:
        return ao.Lagrangian(2, lambda ops, w, v: factor * ops.sum(v * v), name="l", **options)  # type: ignore[arg-type]

    assert fingerprint(system(1.0)) == fingerprint(system(1.0))
    assert fingerprint(system(1.0)) != fingerprint(system(1.0 + 1e-15))
    assert fingerprint(system(1.0)) != fingerprint(system(1.0, bounds=(0.0, np.inf)))
    assert fingerprint(system(1.0)) != fingerprint(system(1.0, constraint=lambda ops, w, v: w))
