"""The shipped modular systems: their options, their known answers, their refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import actionopt as ao
from actionopt.loading import named_points
from problems import deep_linear, digits, iris, linear_regression, robot_arm, spirals, teacher_student, xor

FOLDER = Path(xor.__file__).parent
MODULAR = {
    "xor": [{}, {"width": 2}, {"activation": "sin"}],
    "linear_regression": [{}, {"outputs": 2, "weight_decay": 0.1}],
    "deep_linear": [{}, {"depth": 6, "strengths": (1.0,)}],
    "teacher_student": [{}, {"width": 7, "noise": 0.1}],
    "digits": [{"samples": 40}, {"samples": 12, "hidden": (8, 8), "activation": "relu"}],
    "iris": [{"samples": 9}, {}],
    "spirals": [{}, {"samples": 12, "depth": 1}, {"residual": False}],
    "robot_arm": [{}, {"lengths": (1.0, 1.0), "tool": ((0.0, 0.0),)}],
}
CASES = [(name, options) for name, several in MODULAR.items() for options in several]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_builds_the_same_each_time(name: str, options: dict[str, Any]) -> None:
    first, second = (ao.load_problem(FOLDER / f"{name}.py", **options) for _ in range(2))
    w = first.initial_weights()
    assert np.isfinite(first.energy(w))
    assert first.energy(w) == second.energy(w)
    np.testing.assert_array_equal(first.gradient(w), second.gradient(w))
    assert first.name != "problem"


@pytest.mark.parametrize("name", MODULAR)
def test_files_say_what_they_are(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    assert 'if __name__ == "__main__":' in source
    assert "Known answer\n---" in source
    if name != "linear_regression":
        assert "Source\n---" in source


def test_xor_solution_has_no_energy() -> None:
    for width in (2, 4, 6):
        problem = xor.build(width=width)
        w = xor.solution(width)
        np.testing.assert_allclose(problem.outputs(w), xor.TARGETS, atol=1e-14)
        assert problem.energy(w) < 1e-28
    assert xor.build().size == 17
    assert xor.build().energy(np.zeros(17)) == 0.5


@pytest.mark.parametrize("options", [{}, {"outputs": 3, "features": 2, "weight_decay": 0.2}, {"noise": 0.0}])
def test_linear_regression(options: dict[str, Any], rng: np.random.Generator) -> None:
    problem = linear_regression.build(**options)
    solution, hessian = linear_regression.solution(problem), linear_regression.hessian(problem)
    assert np.abs(problem.gradient(solution)).max() < 1e-14
    v = rng.standard_normal(problem.size)
    np.testing.assert_allclose(problem.gradient(solution + v), hessian @ v, rtol=1e-11, atol=1e-13)
    assert problem.energy(solution + v) == pytest.approx(problem.energy(solution) + 0.5 * v @ hessian @ v, rel=1e-12)
    if options.get("noise") == 0:
        assert problem.energy(solution) < 1e-28


def gradient_flow(problem: ao.Problem, times: np.ndarray) -> np.ndarray:
    """Integrate `w' = -dE/dw` to high accuracy: weights (times, n)."""
    flow = solve_ivp(
        lambda t, w: -problem.gradient(w),
        (0, times[-1]),
        problem.initial_weights(),
        "DOP853",
        times,
        rtol=1e-12,
        atol=1e-14,
    )
    return flow.y.T


@pytest.mark.parametrize("depth", [1, 2])
def test_deep_linear_modes_in_closed_form(depth: int) -> None:
    problem = deep_linear.build(depth=depth)
    times = np.linspace(0, 2, 9)
    modes = deep_linear.modes(problem, gradient_flow(problem, times))
    expected = np.stack([deep_linear.mode(times, s, depth=depth) for s in (3.0, 2.0)], axis=1)
    np.testing.assert_allclose(modes, expected, rtol=1e-9)


def test_deep_linear_known_digits() -> None:
    assert float(deep_linear.mode(1.5, 3.0)) == pytest.approx(2.89324077, abs=5e-9)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_deep_linear_by_quadrature(depth: int) -> None:
    problem = deep_linear.build(depth=depth, strengths=(3.0,), start=0.2)
    times = np.array([0.0, 0.3])
    value = float(deep_linear.modes(problem, gradient_flow(problem, times))[-1, 0])
    assert deep_linear.time_to_reach(value, 3.0, 0.2, depth) == pytest.approx(0.3, rel=1e-9)


def test_deep_linear_energy_splits_into_modes() -> None:
    problem = deep_linear.build(depth=3, strengths=(3.0, 2.0, 0.5), start=0.1)
    w = problem.initial_weights()
    np.testing.assert_allclose(deep_linear.modes(problem, w), [0.1] * 3, rtol=1e-14)
    assert problem.energy(w) == pytest.approx(0.5 * sum((s - 0.1) ** 2 for s in (3.0, 2.0, 0.5)), rel=1e-14)


def test_student_copies_the_teacher() -> None:
    for width in (3, 5):
        problem = teacher_student.build(width=width)
        assert problem.energy(teacher_student.solution(problem)) < 1e-28
    noisy = teacher_student.build(noise=0.1)
    assert noisy.energy(teacher_student.solution(noisy)) > 1e-4
    assert (teacher_student.build(seed=1).inputs != teacher_student.build(seed=0).inputs).any()


def test_digits_are_all_there() -> None:
    problem = digits.build(samples=1797)
    assert (problem.inputs.shape, problem.size) == ((1797, 64), 64 * 32 + 32 + 32 * 10 + 10)
    assert (problem.inputs.min(), problem.inputs.max()) == (0.0, 1.0)
    assert problem.energy(np.zeros(problem.size)) == pytest.approx(np.log(10))


def test_iris_takes_the_species_in_turn() -> None:
    problem = iris.build(samples=9)
    np.testing.assert_array_equal(problem.targets, [0, 1, 2] * 3)
    assert iris.build().size == 139
    np.testing.assert_allclose(iris.build().inputs.std(axis=0), 1)
    assert iris.build(weight_decay=0.0).energy(np.zeros(139)) == pytest.approx(np.log(3))


def test_spirals_mirror_each_other() -> None:
    points, labels = spirals.spirals(194)
    np.testing.assert_array_equal(points[0::2], -points[1::2])
    np.testing.assert_array_equal(labels.ravel(), [1, 0] * 97)
    np.testing.assert_allclose(points[0], [0, 1], atol=1e-15)
    np.testing.assert_allclose(np.hypot(*points[-2]), 8 / 104)
    assert spirals.build(weight_decay=0.0).energy(np.zeros(spirals.build().size)) == pytest.approx(np.log(2))


def test_arm_reaches_the_pose_both_ways() -> None:
    problem = robot_arm.build()
    for posture in robot_arm.postures():
        np.testing.assert_allclose(problem.outputs(posture), problem.targets, atol=1e-14)
        assert np.abs(problem.gradient(posture)).max() < 1e-14
    up, down = robot_arm.postures()
    assert up[1] < 0 < down[1]
    assert named_points(FOLDER / "robot_arm.py") == {"elbow up": tuple(up), "elbow down": tuple(down)}


def test_arm_is_the_sum_of_its_links(rng: np.random.Generator) -> None:
    """The hand's place by adding up links in their absolute directions."""
    problem = robot_arm.build()
    angles = rng.uniform(-np.pi, np.pi, 3)
    directions = np.cumsum(angles[::-1])
    hand = sum(l * np.array([np.cos(d), np.sin(d)]) for l, d in zip(robot_arm.LENGTHS, directions, strict=True))
    marked = hand + 0.3 * np.array([np.cos(directions[-1]), np.sin(directions[-1])])
    np.testing.assert_allclose(problem.outputs(angles), [hand, marked], atol=1e-14)


def test_arm_gradient_is_torque(rng: np.random.Generator) -> None:
    """The adjoint of the last module is the force at every mark; about the base its moment is the base's torque."""
    problem = robot_arm.build()
    result = ao.adjoints(problem, rng.uniform(-1, 1, 3))
    (x, y), force = result.states[-1].T, result.adjoints[-1]
    assert result.gradient[-1] == pytest.approx(float((x * force[:, 1] - y * force[:, 0]).sum()), rel=1e-12)
    lengths = [np.linalg.norm(adjoint, axis=1) for adjoint in result.adjoints]
    np.testing.assert_allclose(lengths[0], lengths[2], rtol=1e-12)  # rotations keep the length of a force


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (digits.build, {"samples": 1798}, r"samples must be a whole number 1 \.\. 1797, got 1798"),
        (digits.build, {"samples": 2.5}, r"samples must be a whole number 1 \.\. 1797, got 2\.5"),
        (iris.build, {"samples": 0}, r"samples must be a whole number 1 \.\. 150, got 0"),
        (spirals.build, {"samples": 7}, "samples must be an even number >= 2, half of them a spiral; got 7"),
        (deep_linear.build, {"depth": 0}, "depth must be a whole number >= 1 and start positive, got 0 and 0.01"),
        (robot_arm.postures, {"pose": (9.0, 0.0, 0.0)}, r"links of lengths \(1.0, 0.8, 0.5\) do not reach the pose"),
        (lambda: deep_linear.mode(1.0, 3.0, depth=3), {}, "the closed form is for depth 1 and 2, got 3"),
    ],
)
def test_wrong_options(build: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        build(**options)


@pytest.mark.parametrize("build", [digits.build, iris.build])
def test_without_scikit_learn(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ao.InputError, match=r"scikit-learn is missing; pip install 'actionopt\[problems\]' brings it"):
        build(samples=3)


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "problems.xor", "--set", "wdith=3"],
        cwd=FOLDER.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("actionopt: unknown option of problems/xor.py 'wdith'; did you mean 'width'?")
