"""Known answers beside measured ones, what a file asks of its report, training and its accuracy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from actionopt.cli import main
from actionopt.report import stages, training, write
from actionopt.report.known import beside, known_answers
from actionopt.report.stages import Context, Options, train_stage

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "problems").glob("[a-z]*.py"))


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor proofs, which take most of the time."""
    monkeypatch.setattr(write, "PICTURES", ())
    monkeypatch.setattr(stages, "PROOF_SIZE", 0)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["run", *map(str, arguments), "--no-progress"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_files_know_their_answers(path: Path) -> None:
    known = known_answers(path, {})
    assert all(np.isfinite(value) for value in known.values())
    document = path.read_text().partition('"""')[2].partition('"""')[0]
    if "Known answer" in document and path.stem not in ("digits", "iris", "spirals", "neural_ode", "limit_cycle"):
        assert known, path.stem


@pytest.mark.parametrize(
    ("name", "quantity", "stage"),
    [("lqr", "action", "path"), ("ornstein_uhlenbeck", "action", "path"), ("maier_stein", "action", "transition"),
     ("linear_regression", "energy", "train")],
)  # fmt: skip
def test_measured_answers_are_the_known_ones(name: str, quantity: str, stage: str, tmp_path: Path) -> None:
    done = run(name, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)["stages"][stage]["summary"]
    assert summary["off_the_known_answer"] < 1e-4
    known = next(value for key, value in summary.items() if key.startswith("known_"))
    assert summary[quantity] == pytest.approx(known, rel=1e-4)
    assert f"{known:.8g}" in (tmp_path / "out" / "report.html").read_text()


def test_a_lower_known_answer_fails_the_path(tmp_path: Path) -> None:
    file = tmp_path / "well.py"
    text = (ROOT / "problems" / "double_well.py").read_text()
    file.write_text(text.replace('"action": 0.5', '"action": 0.4'))
    done = run(file, "--out", tmp_path / "out", "--json")
    stage = json.loads(done.stdout)["stages"]["transition"]
    assert (done.exit_code, stage["state"]) == (1, "failed")
    assert "The known answer, 0.4, is lower" in stage["message"]
    assert "Not everything holds: see Transition path" in (tmp_path / "out" / "report.html").read_text()


def test_sentences_of_known_answers() -> None:
    assert beside("energy", 1.0, {}, 1.0) == ("", {})
    assert "1.0e-06 away, relative to the start" in beside("energy", 2e-6, {"energy": 0.0}, 2.0)[0]
    assert "is HIGHER than what was found" in beside("action", 0.4, {"action": 0.5}, 0.0)[0]
    assert beside("path action", 2.0, {"path action": 2.0}, 0.0)[1]["known_path_action"] == 2.0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def known():\n    return {'energy': 'low'}", "must return numbers by quantity"),
        ("def known():\n    return {'speed': 1.0}", "may name energy, action"),
        ("def known(width):\n    return {}", "must return numbers by quantity"),
        ("RUN = {'horizons': 3}", "RUN may hold"),
    ],
)
def test_what_a_file_says_wrongly_is_refused(tmp_path: Path, source: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"import actionopt as ao\ndef build():\n    return ao.Drift(1, lambda ops, w: -w)\n{source}\n")
    done = run(file, "--start", "0", "--end", "1", "--horizon", "1", "--out", tmp_path / "out")
    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert not (tmp_path / "out").exists()


def test_another_path_than_the_files_has_no_known_answer(tmp_path: Path) -> None:
    done = run("lqr", "--start", "2", "--horizon", "1", "--steps", "20", "--out", tmp_path / "out", "--json")
    summary = json.loads(done.stdout)["stages"]["path"]["summary"]
    assert done.exit_code == 0
    assert not [name for name in summary if name.startswith("known")]
    assert summary["action"] == pytest.approx(4.0 * np.tanh(1.0) / 2.0, rel=1e-2)


def test_training_that_takes_too_long_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SECONDS", 1e-9)
    problem = ao.load_problem("xor")
    outcome = train_stage(Context(problem, Options(), tmp_path))
    assert outcome.state == "skipped"
    assert "`actionopt train` goes on" in outcome.message


def test_accuracy_is_the_share_of_right_labels() -> None:
    x, labels = np.array([[-1.0], [1.0], [2.0]]), [0, 1, 0]
    problem = ao.Problem(ao.Dense(1, 2, bias=False), x, labels, ao.SoftmaxCrossEntropy())
    w = np.array([-1.0, 1.0])
    assert training.accuracy(problem, w) == pytest.approx(2 / 3)
    np.testing.assert_allclose(training.accuracy(problem, np.stack([w, -w])), [2 / 3, 1 / 3])
    hot = ao.Problem(ao.Dense(1, 2, bias=False), x, np.eye(2)[labels], ao.SoftmaxCrossEntropy())
    assert training.accuracy(hot, w) == pytest.approx(2 / 3)
    assert training.accuracy(ao.load_problem("xor"), np.zeros(17)) is None


def test_a_file_draws_its_system(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    from problems import robot_arm

    problem = robot_arm.build()
    ax = Figure().subplots()
    robot_arm.draw(ax, problem, robot_arm.postures()[0])
    arm, hand, wanted = ax.lines
    np.testing.assert_allclose(np.linalg.norm(np.diff(arm.get_xydata(), axis=0), axis=1), robot_arm.LENGTHS)
    np.testing.assert_allclose(hand.get_xydata(), wanted.get_xydata(), atol=1e-12)
    np.testing.assert_allclose(arm.get_xydata()[-1], hand.get_xydata()[0], atol=1e-12)  # a mark sits on the hand
    file = tmp_path / "mine.py"
    file.write_text("import actionopt as ao\ndraw = 3\ndef build():\n    return ao.Drift(1, lambda ops, w: -w)\n")
    done = run(file, "--start", "0", "--end", "1", "--horizon", "1", "--out", tmp_path / "out")
    assert (done.exit_code, "draw must be a function" in done.stderr) == (2, True)


def test_shorter_times_and_modules_are_kept(tmp_path: Path) -> None:
    done = run("quadratic", "--out", tmp_path / "out", "--steps", "20", "--json")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "out" / "path-horizons.npz") as kept:
        assert kept["times"].tolist() == [0.375, 0.75, 1.5]
        assert (np.diff(kept["actions"]) < 0).all()
    with np.load(tmp_path / "out" / "contraction.npz") as kept:
        assert kept["modules"].shape == (len(kept["times"]), 1)
        np.testing.assert_allclose(kept["modules"][:, 0], kept["rates"])  # of one module
