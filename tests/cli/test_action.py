"""`actionopt action`: ends by name, continuation, guesses, what is saved, and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from problems import lqr, maier_stein, mueller_brown, quadratic

ROOT = Path(__file__).parents[2]
Run = Callable[..., "tuple[int, str, str]"]
QUADRATIC = ("problems/quadratic.py", "--start", "start", "--end", "end", "--horizon", "1.5", "--scheme", "gauss2")


def test_table(run: Run) -> None:
    status, out, err = run("action", *QUADRATIC)
    assert (status, err) == (0, "")
    assert "quadratic: 2 weights, 100 steps, gauss2, solver newton" in out
    row = next(line for line in out.splitlines() if "converged" in line).split()
    assert float(row[1]) == pytest.approx(quadratic.ACTION, abs=1e-7)
    assert "Hamiltonian, spread" in out


def test_json_holds_the_attributes(run: Run) -> None:
    done = run("action", *QUADRATIC, "--json")
    assert (done.status, done.err) == (0, "")
    expected = ao.minimize_action(quadratic.build(), (1, -1), (0.5, 0.8), horizon=1.5, scheme="gauss2")
    for name in ("action", "kinetic", "potential", "energy_change", "balance_defect", "times", "weights", "energy"):
        assert done.record[name] == pytest.approx(getattr(expected, name), rel=1e-9)
    assert done.record["stats"]["solver"] == "newton"


def test_free_end_of_a_lagrangian(run: Run) -> None:
    record = run("action", "problems/lqr.py", "--start", 1, "--horizon", 1, "--scheme", "gauss2", "--json").record
    assert record["action"] == pytest.approx(lqr.exact_cost(), abs=1e-9)
    assert record["energy"] is record["kinetic"] is None


def test_partly_free_end(run: Run) -> None:
    weights = run(
        "action", "problems/quadratic.py", "--start", "1,-1", "--end", "nan,0.8", "--horizon", 1, "--json"
    ).record["weights"]
    expected = ao.minimize_action(quadratic.build(), (1, -1), (np.nan, 0.8), horizon=1.0)
    np.testing.assert_allclose(weights, expected.weights, rtol=1e-9)
    assert weights[-1][1] == 0.8
    assert abs(expected.node_momenta[-1, 0]) < 1e-7  # transversality in the free component


def test_start_of_a_problem_is_its_initial_weights(run: Run) -> None:
    record = run("action", "problems/xor.py", "--horizon", 1, "--steps", 10, "--seed", 2, "--json").record
    assert record["action"] < 1e-25
    np.testing.assert_allclose(record["weights"][0], ao.load_problem("problems/xor.py").initial_weights(2))


def test_several_horizons_are_solved_in_turn(run: Run) -> None:
    status, out, _ = run(
        "action", "problems/mueller_brown.py", "--start", "deep minimum", "--end", "middle minimum",
        "--horizon", "0.01,0.02,0.03,0.04,0.05", "--scheme", "gauss2", "--steps", 100,
    )  # fmt: skip
    assert status == 0
    rows = [line.split() for line in out.splitlines() if line.endswith("converged")]
    assert [float(row[0]) for row in rows] == [0.01, 0.02, 0.03, 0.04, 0.05]
    climb = 2 * (mueller_brown.ENERGIES["high saddle"] - mueller_brown.ENERGIES["deep minimum"])
    assert float(rows[-1][1]) == pytest.approx(climb, rel=1e-3)


def test_through_a_point_off_the_axis(run: Run) -> None:
    command = ("action", "problems/maier_stein.py", "--start", "left minimum", "--end", "saddle", "--horizon", 20)
    options = ("--steps", 200, "--scheme", "gauss2", "--json")
    bent = run(*command, "--through", "bend", *options).record
    assert bent["action"] == pytest.approx(maier_stein.ACTIONS[10.0], abs=2e-6)
    mirrored = run(*command, "--through", "-0.5,-0.3", *options).record
    assert mirrored["weights"][100][1] == pytest.approx(-bent["weights"][100][1], abs=1e-4)


def test_a_saved_trajectory_is_a_guess(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "path.npz"
    first = run("action", *QUADRATIC, "--out", out)
    assert first.out.endswith(f"saved {out}\n")
    again = run("action", *QUADRATIC, "--guess", out, "--json").record
    assert again["stats"]["iterations"] == 0
    np.testing.assert_allclose(again["weights"], ao.Trajectory.load(out).weights, atol=1e-14)


def test_an_early_stop_is_status_one_and_is_saved(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "path.npz"
    done = run(
        "action", "problems/double_well.py", "--start", -1, "--end", 1, "--horizon", 10, "--max-iterations", 1,
        "--out", out,
    )  # fmt: skip
    assert done.status == 1
    assert "iteration limit" in done.out
    assert "Continue from this trajectory" in done.out
    assert ao.Trajectory.load(out).status == "iteration limit"


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_casadi_solvers(run: Run, solver: str) -> None:
    done = run("action", *QUADRATIC, "--steps", 20, "--solver", solver, "--json")
    assert done.status == 0
    expected = ao.minimize_action(quadratic.build(), (1, -1), (0.5, 0.8), horizon=1.5, scheme="gauss2", steps=20)
    assert done.record["action"] == pytest.approx(expected.action, rel=1e-8)


@pytest.mark.parametrize("named", [True, False], ids=["--out", "no --out"])
def test_interrupt_keeps_the_last_path_and_says_where(tmp_path: Path, named: bool) -> None:
    """A solve of a minute, interrupted at its second step."""
    out = tmp_path / ("mine.npz" if named else "mueller_brown-interrupted.npz")
    command = [
        sys.executable, "-c", "from actionopt.cli import main; main()",
        "action", str(ROOT / "problems" / "mueller_brown.py"), "--start", "middle minimum", "--end", "right minimum",
        "--horizon", "0.1", "--steps", "2000", "--scheme", "gauss2", "--max-iterations", "100000", "--progress",
        *(("--out", str(out)) if named else ()),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        seen = b""
        while seen.count(b"|dS|") < 2:
            assert process.poll() is None, seen
            seen += process.stderr.read1(100)
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in rest
    kept = ao.Trajectory.load(out)
    assert (kept.status, kept.success) == ("interrupted", False)
    assert kept.points.shape == (4001, 2)
    place = out if named else out.name
    assert f"interrupted; the last trajectory is in {place}: continue from it with --guess {place}" in err.decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "1,2"], "Missing option '--horizon'"),
        (["--horizon", "1"], "problems/maier_stein.py defines a Drift: give --start, a name or 2 numbers with commas"),
        (["--horizon", "one", "--start", "saddle"], "--horizon takes a number, or several with commas"),
        (["--horizon", "0", "--start", "saddle"], "horizon must be a positive, finite number, got 0.0"),
        (["--horizon", "1", "--start", "sadle"], "for --start 'sadle'; did you mean 'saddle'?"),
        (["--horizon", "1", "--start", "saddle", "--end", "1"], "end must have shape (2,), got (1,)"),
        (["--horizon", "1", "--start", "saddle", "--end", "inf,0"], "end must be finite, or NaN where it is free"),
        (
            ["--horizon", "1", "--start", "saddle", "--scheme", "gauss"],
            "unknown scheme 'gauss'; did you mean 'gauss2'?",
        ),
        (
            ["--horizon", "1", "--start", "saddle", "--solver", "nwton"],
            "unknown solver 'nwton'; did you mean 'newton'?",
        ),
        (["--horizon", "1", "--start", "saddle", "--solver", "ipopts"], "did you mean 'ipopt'? Known: alpaqa, auto,"),
        (["--horizon", "1", "--start", "saddle", "--guess", "flow"], 'guess "flow" needs a Problem'),
        (["--horizon", "1", "--start", "saddle", "--guess", "no.npz"], "no trajectory file no.npz"),
        (
            ["--horizon", "1", "--start", "saddle", "--guess", "line", "--through", "bend"],
            "give --through or --guess, not both",
        ),
        (["--horizon", "1", "--start", "saddle", "--through", "0.5"], "waypoints must be points of one size"),
        (["--horizon", "1", "--start", "saddle", "--out", "x.csv"], "--out takes a name that ends in .npz, got x.csv"),
    ],
)
def test_wrong_options(run: Run, options: list[str], message: str) -> None:
    status, out, err = run("action", "problems/maier_stein.py", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_path_constraints_of_a_file(run: Run, problem_file: Callable[[str], Path]) -> None:
    """Around a disc of radius 1/2: two tangents and an arc, of length sqrt(3) + pi/6 in all."""
    path = problem_file(
        "def build():\n"
        "    def wall(ops, w, v):\n"
        "        x, y = ops.columns(w)\n"
        "        return 0.25 - (x - 1) ** 2 - y**2\n"
        "    return ao.Lagrangian(2, lambda ops, w, v: 0.5 * ops.sum(v * v), constraint=wall)\n"
    )
    command = ("action", path, "--horizon", 1, "--start", "0,0", "--end", "2,0", "--through", "1,0.8", "--steps", 80)
    status, out, _ = run(*command)
    assert status == 0
    assert "solver ipopt" in out
    assert "infeasibility" in out
    row = next(line for line in out.splitlines() if line.endswith("converged")).split()
    assert float(row[1]) == pytest.approx(0.5 * (np.sqrt(3) + np.pi / 6) ** 2, rel=1e-3)
    assert run(*command, "--solver", "newton").status == 2


def test_casadi_solvers_show_progress(run: Run) -> None:
    done = run("action", *QUADRATIC, "--steps", 20, "--solver", "ipopt", "--progress", "--json")
    assert "action (ipopt)" in done.err
    assert "S = 2.018" in done.err
    assert done.record["success"]


def test_files_without_points_take_numbers(run: Run, problem_file: Callable[[str], Path]) -> None:
    path = problem_file("def build():\n    return ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(v * v))\n")
    assert run("action", path, "--start", "0", "--end", "2", "--horizon", 1, "--json").record[
        "action"
    ] == pytest.approx(2)
    status, _, err = run("action", path, "--start", "here", "--horizon", 1)
    assert status == 2
    assert "--start takes numbers with commas, such as 0.5,nan; got 'here'" in err
