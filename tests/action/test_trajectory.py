"""Trajectories: what the fields mean, resampling, and files that are written whole and read with suspicion."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.trajectory_file import NEEDED
from actionopt.archive import METADATA
from problems import double_well, quadratic

GRID = np.array([0.0, 0.1, 0.4, 0.5, 1.0])


def path(scheme: str = "gauss2", **options: Any) -> ao.Trajectory:
    """A quadratic's least-action path on a grid that is not uniform."""
    return ao.minimize_action(
        quadratic.build(), quadratic.POINTS["start"], quadratic.POINTS["end"], times=GRID, scheme=scheme, **options
    )


def interval_action(trajectory: ao.Trajectory, k: int, shift: np.ndarray, stretch: complex = 1.0) -> complex:
    """Sum the action of interval k from its formula, with its points moved and its length stretched."""
    scheme, matrix = trajectory.discretisation, np.array(quadratic.HESSIAN)
    degree = scheme.nodes[1]
    stages = len(scheme.stages) // (len(GRID) - 1)
    points = trajectory.points[k * degree : (k + 1) * degree + 1] + shift
    rows, columns = slice(k * stages, (k + 1) * stages), slice(k * degree, (k + 1) * degree + 1)
    w = scheme.position[rows, columns] @ points
    v = scheme.velocity[rows, columns] @ points / stretch
    return stretch * np.sum(scheme.weights[rows] * 0.5 * ((v + w @ matrix) ** 2).sum(axis=1))


@pytest.mark.parametrize(
    ("scheme", "degree", "stages"), [("midpoint", 1, 1), ("gauss2", 2, 2), ("radau3", 2, 2), ("radau5", 3, 3)]
)
def test_shapes(scheme: str, degree: int, stages: int) -> None:
    trajectory = path(scheme)
    intervals = len(GRID) - 1
    for name, shape in {
        "times": (intervals + 1,),
        "weights": (intervals + 1, 2),
        "points": (degree * intervals + 1, 2),
        "stage_times": (stages * intervals,),
        "stage_weights": (stages * intervals, 2),
        "velocities": (stages * intervals, 2),
        "momenta": (stages * intervals, 2),
        "action_density": (stages * intervals,),
        "stage_hamiltonian": (stages * intervals,),
        "hamiltonian": (intervals,),
        "step_actions": (intervals,),
        "node_momenta": (intervals + 1, 2),
        "energy": (intervals + 1,),
    }.items():
        assert getattr(trajectory, name).shape == shape, name
    np.testing.assert_array_equal(trajectory.weights[[0, -1]], [quadratic.POINTS["start"], quadratic.POINTS["end"]])


@pytest.mark.parametrize("scheme", ["midpoint", "gauss2", "radau3", "radau5"])
def test_fields_follow_their_formulas(scheme: str) -> None:
    trajectory, matrix = path(scheme), np.array(quadratic.HESSIAN)
    w, v = trajectory.stage_weights, trajectory.velocities
    gradient = w @ matrix
    np.testing.assert_allclose(trajectory.momenta, v + gradient, atol=1e-12)
    np.testing.assert_allclose(trajectory.action_density, 0.5 * ((v + gradient) ** 2).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(
        trajectory.stage_hamiltonian, 0.5 * (v**2).sum(axis=1) - 0.5 * (gradient**2).sum(axis=1), atol=1e-12
    )
    np.testing.assert_allclose(trajectory.step_actions, [interval_action(trajectory, k, 0.0) for k in range(4)])
    assert trajectory.action == pytest.approx(trajectory.step_actions.sum(), rel=1e-14)
    quadrature = trajectory.discretisation.weights
    assert trajectory.kinetic == pytest.approx(0.5 * quadrature @ (v**2).sum(axis=1), rel=1e-12)
    assert trajectory.potential == pytest.approx(0.5 * quadrature @ (gradient**2).sum(axis=1), rel=1e-12)
    ends = np.einsum("ki,ij,kj->k", trajectory.weights, matrix, trajectory.weights)[[0, -1]] / 2
    assert trajectory.energy_change == pytest.approx(ends[1] - ends[0], rel=1e-12)
    assert trajectory.balance_defect == pytest.approx(
        trajectory.action - trajectory.kinetic - trajectory.potential - trajectory.energy_change, abs=1e-14
    )


@pytest.mark.parametrize("scheme", ["midpoint", "gauss2", "radau3", "radau5"])
def test_node_momenta_and_hamiltonian_are_derivatives_of_the_discrete_action(scheme: str) -> None:
    trajectory = path(scheme, tol=1e-12)
    eps = 1e-30  # complex step: exact to rounding
    degree = trajectory.discretisation.nodes[1]
    for k in range(len(GRID) - 1):
        for axis in range(2):
            for node, column, sign in ((k, 0, -1.0), (k + 1, degree, 1.0)):
                shift = np.zeros((degree + 1, 2), dtype=complex)
                shift[column, axis] = 1j * eps
                slope = sign * interval_action(trajectory, k, shift).imag / eps
                assert trajectory.node_momenta[node, axis] == pytest.approx(slope, abs=1e-10)
        by_length = interval_action(trajectory, k, 0.0, 1.0 + 1j * eps).imag / eps / np.diff(GRID)[k]
        assert trajectory.hamiltonian[k] == pytest.approx(-by_length, abs=1e-12)


@pytest.mark.parametrize("scheme", ["midpoint", "gauss2", "radau3", "radau5"])
def test_node_momenta_are_the_costates_that_a_solver_returns(scheme: str) -> None:
    trajectory = path(scheme, solver="ipopt")
    np.testing.assert_allclose(trajectory.node_momenta, trajectory.stats["multipliers"]["costates"], atol=1e-9)


def test_systems_without_energy_or_splitting_have_none() -> None:
    free = ao.minimize_action(ao.Lagrangian(1, lambda ops, x, v: 0.5 * v**2), 0.0, 1.0, horizon=1.0, steps=4)
    assert free.energy is None
    assert free.kinetic is free.potential is free.energy_change is free.balance_defect is None
    assert free.action == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(("scheme", "degree"), [("midpoint", 1), ("gauss2", 2)])
def test_resample_evaluates_the_pieces(scheme: str, degree: int) -> None:
    trajectory = path(scheme)
    np.testing.assert_allclose(trajectory.resample(GRID), trajectory.weights, atol=1e-14)
    np.testing.assert_allclose(trajectory.resample(trajectory.stage_times), trajectory.stage_weights, atol=1e-14)
    for left, right in itertools.pairwise(GRID):
        inside = np.linspace(left, right, 7)
        values = trajectory.resample(inside)
        for column in values.T:
            fit = np.polynomial.Polynomial.fit(inside, column, degree)
            np.testing.assert_allclose(fit(inside), column, atol=1e-12)


def test_resample_refuses_times_outside() -> None:
    with pytest.raises(ao.InputError, match=r"within \[0, 1\]"):
        path().resample([0.5, 1.1])


def test_a_trajectory_is_a_guess_on_another_grid_and_horizon() -> None:
    coarse = path()
    again = ao.minimize_action(
        quadratic.build(), (1, -1), (0.5, 0.8), horizon=1.5, steps=40, scheme="midpoint", guess=coarse
    )
    direct = ao.minimize_action(quadratic.build(), (1, -1), (0.5, 0.8), horizon=1.5, steps=40)
    np.testing.assert_allclose(again.weights, direct.weights, atol=1e-9)


def test_save_and_load_give_the_same(tmp_path: Path) -> None:
    trajectory = path()
    file = trajectory.save(tmp_path / "path.npz")
    loaded = ao.Trajectory.load(file)
    for name in (*NEEDED, "energy", "kinetic_density", "potential_density", "weights", "hamiltonian"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(trajectory, name))
    assert loaded.summary == trajectory.summary
    assert [p.name for p in tmp_path.iterdir()] == ["path.npz"]


def test_stats_come_back(tmp_path: Path) -> None:
    multipliers = {"end": np.array([[1.0, 2.0]]), "inner": {"count": np.arange(3), "none": np.zeros((0, 2))}}
    stats = {
        "count": np.int64(3),
        "rates": np.array([1.0, np.nan]),
        "multipliers": multipliers,
        "other": 1j,
        "few": (1, 2),
    }
    trajectory = replace(path(), stats=stats)
    loaded = ao.Trajectory.load(trajectory.save(tmp_path / "path.npz")).stats
    assert set(loaded) == set(stats)
    assert (loaded["count"], loaded["other"], loaded["few"]) == (3, "1j", [1, 2])
    np.testing.assert_array_equal(loaded["rates"], stats["rates"])
    np.testing.assert_array_equal(loaded["multipliers"]["end"], multipliers["end"])
    np.testing.assert_array_equal(loaded["multipliers"]["inner"]["count"], np.arange(3), strict=True)
    assert loaded["multipliers"]["inner"]["none"].shape == (0, 2)


def test_edited_stats_are_refused(tmp_path: Path) -> None:
    file = replace(path(), stats={"rates": np.array([1.0, 2.0])}).save(tmp_path / "path.npz")
    np.savez(file, **arrays_of(file) | {"stats/rates": np.array([1.0, 3.0])})
    with pytest.raises(ao.InputError, match="was changed after it was written"):
        ao.Trajectory.load(file)


def test_save_refuses_other_names_and_unwritable_folders(tmp_path: Path) -> None:
    with pytest.raises(ao.InputError, match=r"saved as \.npz"):
        path().save(tmp_path / "path.json")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ao.InputError, match="cannot write"):
        path().save(tmp_path / "file" / "path.npz")


def test_a_failed_save_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = path().save(tmp_path / "path.npz")
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(ao.InputError, match="No space left"):
        path().save(file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["path.npz"]


def arrays_of(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as archive:
        return dict(archive)


def edited(file: Path, **changes: Any) -> Path:
    """Write the file again with metadata entries changed."""
    arrays = arrays_of(file)
    metadata = json.loads(str(arrays[METADATA])) | changes
    np.savez(file, **arrays | {METADATA: np.array(json.dumps(metadata))})
    return file


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.9, -1])
def test_truncated_files_are_refused(tmp_path: Path, kept: float) -> None:
    file = path().save(tmp_path / "path.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with pytest.raises(ao.InputError, match=r"path\.npz is truncated or no \.npz archive"):
        ao.Trajectory.load(file)


def test_flipped_bytes_are_refused(tmp_path: Path) -> None:
    file = path().save(tmp_path / "path.npz")
    whole = file.read_bytes()
    for place in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        try:
            loaded = ao.Trajectory.load(file)
        except ao.InputError:
            continue
        # a byte that the archive does not use, such as a time stamp
        np.testing.assert_array_equal(loaded.points, path().points)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated or no"),
        (b"hello", "truncated or no"),
        (b"\x80\x04K\x01.", "truncated or no"),  # a pickle
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "foreign.npz"
    file.write_bytes(content)
    with pytest.raises(ao.InputError, match=rf"foreign\.npz is {reason}"):
        ao.Trajectory.load(file)


def test_foreign_archives_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "foreign.npz"
    np.savez(file, a=np.arange(3))
    with pytest.raises(ao.InputError, match=r"was not written by Trajectory\.save: it has no metadata"):
        ao.Trajectory.load(file)
    np.savez(file, metadata=np.array("{not json"))
    with pytest.raises(ao.InputError, match="is no JSON"):
        ao.Trajectory.load(file)
    np.savez(file, metadata=np.array('{"schema": "something.else"}'))
    with pytest.raises(ao.InputError, match=r"schema is not 'actionopt\.trajectory'"):
        ao.Trajectory.load(file)
    with open(file, "wb") as stream:
        np.save(stream, np.arange(3))
    with pytest.raises(ao.InputError, match="it holds a single array"):
        ao.Trajectory.load(file)
    np.savez(file, metadata=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ao.InputError, match="truncated or no"):
        ao.Trajectory.load(file)
    with pytest.raises(ao.InputError, match="no trajectory file"):
        ao.Trajectory.load(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 99}, "has version 99 of actionopt.trajectory, this program reads 1"),
        ({"status": 3}, "must hold status as str, got 3"),
        ({"scheme": "simpson"}, "unknown scheme 'simpson'"),
        ({"scheme": "midpoint"}, "points must be float64 (5, 2)"),
        ({"checksum": None}, "must hold checksum as str"),
        ({"success": False}, "was changed after it was written"),
        ({"name": "another"}, "was changed after it was written"),
    ],
)
def test_edited_metadata_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    file = edited(path().save(tmp_path / "path.npz"), **changes)
    with pytest.raises(ao.InputError, match=re.escape(reason)):
        ao.Trajectory.load(file)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("points", lambda a: a * 1.000001, "was changed after it was written"),
        ("momenta", lambda a: a[:-1], "momenta must be float64 (8, 2), got float64 (7, 2)"),
        ("action_density", lambda a: a.astype(np.float32), "got float32"),
        ("energy", lambda a: a[:, None], "energy must be float64 (5,)"),
        ("times", lambda a: a[::-1], "times must increase"),
        ("times", lambda a: a * np.nan, "times must increase"),
        ("points", lambda a: a.ravel(), "points be a matrix"),
    ],
)
def test_edited_arrays_are_refused(tmp_path: Path, name: str, change: Any, reason: str) -> None:
    file = path().save(tmp_path / "path.npz")
    arrays = arrays_of(file)
    np.savez(file, **arrays | {name: change(arrays[name])})
    with pytest.raises(ao.InputError, match=re.escape(reason)):
        ao.Trajectory.load(file)


def test_missing_and_unknown_arrays_are_refused(tmp_path: Path) -> None:
    file = path().save(tmp_path / "path.npz")
    arrays = arrays_of(file)
    np.savez(file, **{name: array for name, array in arrays.items() if name != "momenta"})
    with pytest.raises(ao.InputError, match=r"lacks \['momenta'\]"):
        ao.Trajectory.load(file)
    np.savez(file, **arrays, extra=np.zeros(2))
    with pytest.raises(ao.InputError, match=r"unknown arrays \['extra'\]"):
        ao.Trajectory.load(file)


def test_it_shows_itself() -> None:
    trajectory = ao.flow(double_well.build(), [0.5], horizon=1.0, steps=5)
    assert "'double-well': 1 weights, 5 steps to t = 1, radau5, within 1" in repr(trajectory)
    table = trajectory._repr_html_()
    assert "<caption>Trajectory of double-well</caption>" in table
    assert "balance defect" in table


def test_plot_draws_every_weight_into_the_axes_given() -> None:
    from actionopt import figures

    _, ax = figures.figure()
    assert path().plot(ax) is ax
    assert [line.get_xdata().tolist() for line in ax.lines] == [GRID.tolist()] * 2
    assert ax.get_xlabel() == "time"
    assert path().plot().lines
