"""Results on disk: read as written, and refused where a file is not what it says, before it takes memory."""

from __future__ import annotations

import io
import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt import archive
from actionopt.archive import METADATA, ResultFile, load_arrays, save_arrays
from problems import linear_regression

KIND = ResultFile("tests.thing", 3, "thing", "Thing.save", {"count": int})


def zeros(count: int) -> bytes:
    """An array file of so many zeros, without holding them."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (count,)})
    return header.getvalue()


def bomb(path: Path, names: list[str], count: int) -> Path:
    """An archive of arrays of zeros."""
    block = bytes(8_000_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name in names:
            with out.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(zeros(count))
                for _ in range(count // 1_000_000):
                    member.write(block)
    return path


LOADERS: dict[str, Callable[[Path], Any]] = {
    "trajectory": ao.Trajectory.load,
    "path": ao.GeometricPath.load,
    "descent": ao.Descent.load,
    "arrays of a run": load_arrays,
}


@pytest.fixture(scope="module")
def bombed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.6 GB of zeros."""
    path = bomb(tmp_path_factory.mktemp("bomb") / "bomb.npz", ["times", "points"], 100_000_000)
    assert path.stat().st_size < 2_000_000
    return path


@pytest.mark.parametrize("name", LOADERS)
def test_what_would_unpack_to_much_more_is_refused_before(bombed: Path, name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ao.InputError, match=r"would unpack from 1\.\d* MB to 1\.6 GB, further than computed numbers"):
        LOADERS[name](bombed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_header_that_asks_for_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    """NumPy makes room for what a header says before it reads."""
    for count in (10**12, 10**30):
        with zipfile.ZipFile(tmp_path / "lie.npz", "w") as out:
            out.writestr("times.npy", zeros(count) + bytes(80))
        with pytest.raises(ao.InputError, match="is not as long as its shape says"):
            ao.Trajectory.load(tmp_path / "lie.npz")


def test_a_table_that_lies_about_its_members_is_refused(tmp_path: Path) -> None:
    """The table says ten numbers, the member unpacks to a million: reading stops at what the table says."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("times.npy", zeros(1_000_000) + bytes(8_000_000))
    whole = buffer.getvalue()
    size = (8_000_000 + len(zeros(1_000_000))).to_bytes(4, "little")
    path = tmp_path / "lie.npz"
    path.write_bytes(whole.replace(size, (80 + len(zeros(10))).to_bytes(4, "little")))
    with pytest.raises(ao.InputError, match="is truncated or no"):
        ao.Trajectory.load(path)


def test_what_compresses_too_well_is_saved_so_that_it_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SMALL", 1_000_000)
    rest = {"zeros": np.zeros(1_000_000), "few": np.arange(3.0)}
    save_arrays(tmp_path / "rest.npz", rest)
    again = load_arrays(tmp_path / "rest.npz")
    assert set(again) == set(rest)
    np.testing.assert_array_equal(again["zeros"], rest["zeros"])
    save_arrays(tmp_path / "noise.npz", {"noise": np.random.default_rng(0).standard_normal(200_000)})
    assert load_arrays(tmp_path / "noise.npz")["noise"].shape == (200_000,)


def test_written_and_read(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False])}
    path = KIND.write(tmp_path / "thing.npz", arrays, {"count": 2, "word": "ä\udcff"})
    again, described = KIND.read(path)
    assert described == {"schema": "tests.thing", "version": 3, "count": 2, "word": "ä\udcff"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array, strict=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, r"has version 2 of tests\.thing, this program reads 3"),
        ({"schema": "other"}, r"was not written by Thing\.save: its schema is not 'tests\.thing'"),
        ({"count": "two"}, "must hold count as int, got 'two'"),
        ({"count": 4}, r"was changed after it was written \(its checksum does not match\)"),
        ({"checksum": None}, "must hold checksum as str"),
    ],
)
def test_edited_metadata(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = KIND.write(tmp_path / "thing.npz", {"a": np.arange(3.0)}, {"count": 2})
    arrays = load_arrays(path)
    metadata = json.loads(str(arrays[METADATA])) | change
    np.savez(path, **{**arrays, METADATA: np.array(json.dumps(metadata))})
    with pytest.raises(ao.InputError, match=reason):
        KIND.read(path)


@pytest.mark.parametrize("stored", ["[" * 100_000, "{", "3", '"word"', "null"])
def test_metadata_of_other_kinds(tmp_path: Path, stored: str) -> None:
    np.savez(tmp_path / "thing.npz", a=np.arange(3.0), metadata=np.array(stored))
    with pytest.raises(ao.InputError, match=r"was not written by Thing\.save"):
        KIND.read(tmp_path / "thing.npz")


def test_forged_files_with_a_right_checksum_are_refused_by_what_they_hold(tmp_path: Path) -> None:
    """Whoever writes a file can write its checksum, too."""
    from actionopt.action.trajectory_file import FILE as TRAJECTORY
    from actionopt.descent.file import FILE as DESCENT
    from actionopt.paths.path_file import FILE as PATH

    problem = linear_regression.build()
    w = problem.initial_weights(0)
    path = ao.flow(problem, w, horizon=1.0, steps=3).save(tmp_path / "flow.npz")
    arrays, described = TRAJECTORY.read(path)
    TRAJECTORY.write(path, {**arrays, "stats/iterations/deep": np.zeros(1)}, {**described, "stats": {"iterations": 3}})
    with pytest.raises(ao.InputError, match="has no place in the stats"):
        ao.Trajectory.load(path)
    TRAJECTORY.write(path, {**arrays, "times": np.array([0.0, 1.0, 2.0, np.inf])}, described)
    with pytest.raises(ao.InputError, match="times must increase"):
        ao.Trajectory.load(path)
    TRAJECTORY.write(path, {**arrays, "flow_times": np.zeros(4)}, described)
    with pytest.raises(ao.InputError, match="flow_times must increase"):
        ao.Trajectory.load(path)
    path = ao.descend(problem, epochs=1, batch=4).save(tmp_path / "run.npz")
    arrays, described = DESCENT.read(path)
    for changed in ({**arrays, "best": arrays["best"][:-1]}, {**arrays, "more": np.zeros(2)}, {"last": np.zeros(2)}):
        DESCENT.write(path, changed, described)
        with pytest.raises(ao.InputError, match="its arrays are not those of one"):
            ao.Descent.load(path)
    DESCENT.write(path, arrays, {**described, "options": {"batch": 3}})
    with pytest.raises(ao.InputError, match="its options are not those of one"):
        ao.Descent.load(path)
    described = dict.fromkeys(("name", "status", "message"), "x") | {"success": True, "stats": {}}
    described |= dict.fromkeys(("action", "action_error", "lowest_eigenvalue"), 1.0)
    for extra in ({}, {"critical_points": 3, "candidates": []}, {"critical_points": [], "candidates": [{"name": 3}]}):
        PATH.write(tmp_path / "path.npz", {"points": np.zeros((2, 1))}, described | extra)
        with pytest.raises(ao.InputError, match="holds no path of this version"):
            ao.GeometricPath.load(tmp_path / "path.npz")
