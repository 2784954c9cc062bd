"""The whole trip: what it leaves, what it repeats, and how it fails."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import actionopt as ao
from actionopt.cli import main
from actionopt.report import run as running
from actionopt.report import scale, stages, write
from actionopt.report.workspace import MANIFEST

PROBLEM = """
import actionopt as ao

POINTS = {"origin": (0.0, 0.0), "far": (2.0, 1.0)}


def build(rate=1.0):
    return ao.Problem(
        ao.Parameter(2), None, [[0.0, 0.0]], ao.SquaredError(), output_metric=None, mass=1.0 / rate, name="bowl"
    )
"""
STAGES = ("check", "train", "flow", "action", "contraction", "proof")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bowl.py"
    path.write_text(PROBLEM)
    return path


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw only where figures are what is tested: they take most of a run's time."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(write, "PICTURES", ())


@pytest.fixture
def drawn() -> None:
    """Ask for figures."""


def go(file: Path, *arguments: str) -> Result:
    options = [] if "--steps" in arguments else ["--steps", "10"]
    return CliRunner().invoke(main, ["run", str(file), "--out", str(file.parent / "out"), *options, *arguments])


def repeated(file: Path, *arguments: str) -> set[str]:
    """Run, and return the stages that ran this time."""
    seen: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        original = running._run_stage

        def watched(stage: Any, *rest: Any) -> Any:
            seen.add(stage.name)
            return original(stage, *rest)

        patch.setattr(running, "_run_stage", watched)
        assert go(file, *arguments).exit_code == 0
    return seen


@pytest.mark.usefixtures("drawn")
def test_everything_is_left_in_the_folder(file: Path) -> None:
    result = go(file)
    assert result.exit_code == 0, result.output
    out = file.parent / "out"
    assert f"report: {out / 'report.html'}" in result.stdout
    left = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    drawn = {
        f"figures/{name}{tone}.svg"
        for name in ("training", "trajectory", "balance", "landscape", "contraction", "proof")
        for tone in ("", "-dark")
    }
    arrays = {"adjoints.npz", "trained.npz", "flow.npz", "action.npz", "contraction.npz", "proof.npz"}
    assert left == {".lock", MANIFEST, "report.html", "results.json"} | arrays | drawn
    results = json.loads((out / "results.json").read_text())
    assert results["ok"] is True
    assert tuple(results["stages"]) == STAGES
    assert results["stages"]["check"]["summary"]["relative_error"] < 1e-10
    assert results["stages"]["contraction"]["summary"]["least"] == pytest.approx(1.0)
    flow = ao.Trajectory.load(out / "flow.npz")
    assert flow.energy[-1] < flow.energy[0]
    assert ao.Trajectory.load(out / "action.npz").action < 1e-20
    page = (out / "report.html").read_text()
    for words in (
        "bowl: report",
        "Every check that ran holds.",
        "The trajectory is certified.",
        "--steps 10",
        "casadi",
        "seed",
    ):
        assert words in page


def test_finished_stages_are_not_repeated(file: Path) -> None:
    assert repeated(file) == set(STAGES)
    assert repeated(file) == set()
    assert repeated(file, "--scheme", "gauss2") == {"action", "contraction"}
    assert repeated(file, "--scheme", "gauss2", "--horizon", "2") == {"flow", "action", "contraction", "proof"}
    assert repeated(file, "--scheme", "gauss2", "--horizon", "2", "--set", "rate=2.0") == set(STAGES)


def test_changed_problem_file_repeats_everything(file: Path) -> None:
    repeated(file)
    file.write_text(PROBLEM + "# changed\n")
    assert repeated(file) == set(STAGES)


def test_lost_result_repeats_its_stage(file: Path) -> None:
    repeated(file)
    (file.parent / "out" / "flow.npz").write_bytes(b"")
    assert repeated(file) == {"flow"}


def test_interrupted_run_goes_on_where_it_stopped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "flow", interrupt)
    result = go(file)
    assert result.exit_code == 130
    assert "interrupted; finished stages are kept in" in result.stderr
    assert "Traceback" not in result.output
    monkeypatch.undo()
    assert repeated(file) == {"action", "contraction", "proof"}


def test_stage_that_raises_is_reported_and_tried_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise ao.SolverError("the solver gave up. Take more steps")

    monkeypatch.setattr(stages, "flow", stop)
    result = go(file)
    assert result.exit_code == 1
    assert "the solver gave up. Take more steps" in result.stdout
    assert "Skipped: it needs the stage 'action', which brought no result." in result.stdout
    page = (file.parent / "out" / "report.html").read_text()
    assert "Not everything holds: see Action and certificate, with what to try." in page
    assert "the solver gave up. Take more steps" in page
    monkeypatch.undo()
    assert repeated(file) == {"action", "contraction"}


@pytest.mark.parametrize("stage", ["flow", "action"])
def test_ctrl_c_inside_a_stage_ends_the_run(file: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """The solvers catch Ctrl-C and return what they reached: no stage may take that for its result."""
    module, name = {"flow": (scale, "flow"), "action": (stages, "flow")}[stage]
    solve = getattr(module, name)

    def interrupted(*arguments: Any, **options: Any) -> ao.Trajectory:
        return dataclasses.replace(solve(*arguments, **options), success=False, status="interrupted")

    monkeypatch.setattr(module, name, interrupted)
    assert go(file).exit_code == 130
    monkeypatch.undo()
    assert (
        repeated(file)
        == {"flow": {"flow", "action", "contraction", "proof"}, "action": {"action", "contraction", "proof"}}[stage]
    )


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(("steps", "constant"), [("3", False), ("50", True)])
def test_hamiltonian_is_called_constant_only_where_it_is(tmp_path: Path, steps: str, constant: bool) -> None:
    file = tmp_path / "well.py"
    file.write_text((Path(__file__).parents[2] / "problems" / "double_well.py").read_text())
    assert go(file, "--start", "left minimum", "--end", "saddle", "--horizon", "12", "--steps", steps).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("constant, to the order of the scheme" in page) == constant
    assert ("time steps are too long: take more --steps" in page) != constant


@pytest.mark.usefixtures("drawn")
def test_path_to_a_given_end(file: Path) -> None:
    result = go(file, "--start", "origin", "--end", "far", "--steps", "50", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    states = {name: entry["state"] for name, entry in record["stages"].items()}
    assert states == {
        "check": "ok",
        "train": "ok",
        "flow": "skipped",
        "action": "skipped",
        "path": "ok",
        "contraction": "skipped",
        "proof": "skipped",
    }
    assert record["stages"]["path"]["summary"]["action"] == pytest.approx(2.0 * 2.5, rel=1e-2)  # twice the climb
    assert {path.stem for path in (file.parent / "out" / "figures").iterdir()} >= {
        "path",
        "path-landscape",
        "hamiltonian",
    }


def test_lagrangian_has_its_path_alone(tmp_path: Path) -> None:
    file = tmp_path / "well.py"
    file.write_text(
        "import actionopt as ao\n\n\ndef build():\n    return ao.Drift(1, lambda ops, w: -w, name='well')\n"
    )
    result = go(file, "--start", "0", "--end", "1", "--horizon", "8", "--steps", "100", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert set(record["stages"]) == {"path"}
    assert record["stages"]["path"]["summary"]["action"] == pytest.approx(1.0, rel=1e-2)
    missing = go(file, "--start", "0", "--end", "1")
    assert missing.exit_code == 2
    assert "a Lagrangian has no time scale of its own: give --horizon" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--start", "orgin"), "did you mean 'origin'"),
        (("--start", "1,2,3"), "3"),
        (("--end", "far away"), "unknown point"),
        (("--metric", "layers"), "unknown metric 'layers'; did you mean 'layerwise'"),
        (("--scheme", "gauss"), "unknown scheme 'gauss'; did you mean 'gauss2'"),
        (("--horizon", "-1"), "horizon must be a positive"),
        (("--steps", "0"), "steps must be a whole number >= 1"),
        (("--set", "rat=1"), "unknown option"),
        (("--solver", "ipot"), "did you mean 'ipopt'"),
    ],
)
def test_wrong_options_are_refused_before_any_work(file: Path, arguments: tuple[str, ...], message: str) -> None:
    result = go(file, *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (file.parent / "out").exists()


def test_folder_that_is_a_file_is_refused(file: Path) -> None:
    (file.parent / "out").write_text("mine")
    result = go(file)
    assert result.exit_code == 2
    assert "cannot make the folder" in result.stderr
    assert (file.parent / "out").read_text() == "mine"


def _concurrent(file: str, number: int, results: Any) -> None:
    result = go(Path(file), "--horizon", str(1 + number))
    results.put((result.exit_code, result.stderr))


def test_concurrent_runs_do_not_mix(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_concurrent, args=(str(file), number, results)) for number in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert any(code == 0 for code, _ in found)
    assert all(code == 0 or (code == 2 and "another run works in" in message) for code, message in found)
    manifest = json.loads((file.parent / "out" / MANIFEST).read_text())
    assert set(STAGES) <= set(manifest["stages"])
    assert np.isfinite(ao.Trajectory.load(file.parent / "out" / "action.npz").action)


@pytest.mark.usefixtures("drawn")
@pytest.mark.slow
def test_iris_from_file_to_report(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["run", "problems/iris.py", "--set", "samples=30", "--out", str(tmp_path / "iris")]
    )
    assert result.exit_code == 0, result.output
    assert "The trajectory is certified." in result.stdout


def test_progress_names_the_stages_on_stderr(file: Path) -> None:
    result = go(file, "--progress", "--json")
    assert json.loads(result.stdout)["ok"] is True
    for title in ("Adjoints are multipliers", "Gradient flow", "Figures and report"):
        assert title in result.stderr
    lines = go(file).stderr.splitlines()  # no terminal: a line a stage
    assert [line.split()[0] for line in lines] == [f"{k}/7" for k in range(1, 8)]
    assert go(file, "--no-progress").stderr == ""
    assert go(file, "--json").stderr == ""
