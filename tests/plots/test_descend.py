"""The figure of mini-batches shows what the steps give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner

import actionopt as ao
from plots import descend

ROOT = Path(__file__).parents[2]


def test_curves_are_those_of_the_steps(rng: np.random.Generator) -> None:
    x = rng.standard_normal((10, 2))
    problem = ao.Problem([ao.Dense(2, 4, "tanh"), ao.Dense(4, 1)], x, x[:, :1], ao.SquaredError(), mass=0.1)
    found = descend.curves(problem, "layerwise", descend.layerwise, 5, 3, 2)
    assert found.steps.tolist() == [0, 1, 2, 3, 4, 5, 6]
    w, memory, generator = problem.initial_weights(1), ao.Momentum(0.5, adapt=True), np.random.default_rng(1)
    for epoch in range(3):
        for index, part in enumerate(np.array_split(generator.permutation(10), 2)):
            cooled = min(1.0, (6 - 2 * epoch - index) / (0.4 * 6))
            w = w + cooled * (ao.step(problem.take(part), w, "model", momentum=memory, tol=1e-2) - w)
            assert found.energies[1, 2 * epoch + index + 1] == problem.energy(w)
    assert (np.diff(found.seconds, axis=1) > 0.0).all()
    figure = descend.draw("title", [found])
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), np.median(found.energies, axis=0))


def test_command_draws_and_refuses(tmp_path: Path) -> None:
    out = tmp_path / "descend.png"
    arguments = [str(ROOT / "problems/xor.py"), "--epochs", "2", "--batch", "2", "--seeds", "2", "--out", str(out)]
    result = CliRunner().invoke(descend.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert out.stat().st_size > 1000
    result = CliRunner().invoke(descend.main, [*arguments, "--rates", "fast"])
    assert result.exit_code == 2
