"""`actionopt flow`: the table, the JSON object, the saved trajectory, and what stops it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from problems import double_well, xor

ROOT = Path(__file__).parents[2]
Run = Callable[..., "tuple[int, str, str]"]


def test_table_of_energies(run: Run) -> None:
    status, out, err = run("flow", "problems/double_well.py", "--start", "0.5", "--horizon", 2, "--steps", 4)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    expected = ao.flow(double_well.build(), [0.5], horizon=2.0, steps=4)
    assert lines[0].split() == ["step", "time", "energy", "distance", "to", "the", "true", "flow"]
    assert [float(line.split()[2]) for line in lines[1:6]] == pytest.approx(expected.energy, abs=1e-4)
    assert [float(line.split()[3]) for line in lines[1:6]] == pytest.approx(expected.distance, rel=0.1)
    assert "double-well: 1 weights, the flow reached its horizon, within" in out
    assert f"certificate {expected.certificate:.3g}: the action of a curve" in out
    assert f"energy change {expected.energy_change:.6g}" in out


def test_long_flows_show_some_of_their_nodes(run: Run) -> None:
    out = run("flow", "problems/double_well.py", "--start", "0.5", "--horizon", 2, "--steps", 137).out
    steps = [int(line.split()[0]) for line in out.splitlines()[1:22]]
    assert (len(steps), steps[0], steps[-1]) == (21, 0, 137)


def test_json_holds_the_attributes(run: Run) -> None:
    done = run("flow", "problems/xor.py", "--horizon", 1, "--steps", 5, "--seed", 3, "--json")
    assert (done.status, done.err) == (0, "")
    problem = xor.build()
    expected = ao.flow(problem, problem.initial_weights(3), horizon=1.0, steps=5)
    record = done.record
    for name in ("times", "weights", "energy", "distance", "hamiltonian", "step_actions"):
        np.testing.assert_allclose(record[name], getattr(expected, name), rtol=1e-9, atol=1e-12)
    assert record["certificate"] == pytest.approx(expected.certificate, rel=1e-6)
    for name in ("kinetic", "potential", "energy_change", "balance_defect"):
        assert record[name] == pytest.approx(getattr(expected, name), rel=1e-9)
    assert record["action"] < 1e-25
    assert (record["status"], record["success"]) == ("converged", True)
    assert record["stats"]["method"] == "radau5"


def test_underresolved_flow_is_status_one(run: Run) -> None:
    done = run("flow", "problems/xor.py", "--horizon", 5, "--steps", 5, "--method", "euler")
    assert done.status == 1
    assert "but is within" in done.out
    assert 'Take more steps or the default method, "radau5"' in done.out


@pytest.mark.parametrize("method", ["gauss2", "euler", "rk4", "DOP853"])
def test_methods_and_metrics(run: Run, method: str) -> None:
    done = run(
        "flow", "problems/xor.py", "--horizon", 0.5, "--steps", 10, "--method", method, "--metric", "joint", "--json"
    )
    problem = xor.build()
    expected = ao.flow(problem, horizon=0.5, steps=10, method=method, metric="joint")
    np.testing.assert_allclose(done.record["energy"], expected.energy, rtol=1e-9)


def test_out_saves_the_trajectory(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "flow.npz"
    done = run("flow", "problems/double_well.py", "--start", "left minimum", "--horizon", 1, "--out", out)
    assert done.status == 0
    assert done.out.endswith(f"saved {out}\n")
    loaded = ao.Trajectory.load(out)
    np.testing.assert_allclose(loaded.weights, -1.0)
    assert len(loaded.times) == 101


def test_progress_goes_to_standard_error(run: Run) -> None:
    done = run(
        "flow", "problems/double_well.py", "--start", "0.5", "--horizon", 1, "--steps", 3, "--progress", "--json"
    )
    assert "flow" in done.err
    assert done.record["success"]


def test_divergence_is_status_one_and_keeps_what_was_reached(
    run: Run, problem_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = problem_file(
        "def build():\n"
        "    loss = ao.CustomLoss(lambda ops, w, target: -ops.sum(w ** 4))\n"
        "    return ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)\n"
    )
    out = tmp_path / "short.npz"
    done = run("flow", path, "--start", 1, "--horizon", 5, "--steps", 50, "--method", "euler", "--out", out)
    assert done.status == 1
    assert "not finite" in done.out
    assert "a larger mass or an L-stable method" in done.out
    loaded = ao.Trajectory.load(out)
    assert not loaded.success
    assert loaded.times[-1] < 5.0


def test_interrupt_keeps_what_was_reached_and_says_where(tmp_path: Path) -> None:
    """A flow of minutes, interrupted after a few steps."""
    command = [
        sys.executable, "-c", "from actionopt.cli import main; main()",
        "flow", str(ROOT / "problems" / "xor.py"), "--horizon", "100", "--steps", "200000", "--progress",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        seen = b""
        while seen.count(b"it/s") < 4:
            assert process.poll() is None, seen
            seen += process.stderr.read1(100)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted at t = " in out
    assert "interrupted; the last trajectory is in xor-interrupted.npz" in err.decode()
    kept = ao.Trajectory.load(tmp_path / "xor-interrupted.npz")
    assert (kept.status, kept.success) == ("interrupted", False)
    assert 0.0 < kept.times[-1] < 100.0
    assert kept.action < 1e-20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Missing option '--horizon'"),
        (["--horizon", "-1"], "horizon must be a positive, finite number, got -1.0"),
        (["--horizon", "x"], "Invalid value for '--horizon'"),
        (["--horizon", "1", "--steps", "0"], "steps must be a whole number >= 1, got 0"),
        (["--horizon", "1", "--method", "rk5"], "unknown method 'rk5'; did you mean 'rk4'?"),
        (["--horizon", "1", "--metric", "layer"], "unknown metric 'layer'; did you mean 'layerwise'?"),
        (["--horizon", "1", "--start", "1,2"], "w0 must have length 1, got shape (2,)"),
        (["--horizon", "1", "--start", "nan"], "w0 must be finite"),
        (
            ["--horizon", "1", "--start", "left"],
            "unknown point of problems/double_well.py for --start 'left'. Known: left minimum, right minimum, saddle",
        ),
        (["--horizon", "1", "--out", "x.json"], "--out takes a name that ends in .npz, got x.json"),
        (["--horizon", "1", "--out", "setup.cfg/x.npz"], "setup.cfg is no folder that can be written to"),
    ],
)
def test_wrong_options(run: Run, options: list[str], message: str) -> None:
    status, out, err = run("flow", "problems/double_well.py", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_lagrangian_has_no_flow(run: Run) -> None:
    status, _, err = run("flow", "problems/lqr.py", "--horizon", 1)
    assert status == 2
    assert "for that there is `actionopt action`" in err
