"""Results written, read and equal: `.npz` with everything, tables as CSV and pandas, labelled arrays as xarray."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao


def problem() -> ao.Problem:
    x = np.linspace(-1.0, 1.0, 6)
    layers = [ao.Dense(1, 3, "tanh"), ao.Dense(3, 1)]
    return ao.Problem(layers, x, np.sin(2.0 * x), ao.SquaredError(), mass=0.2, weight_decay=0.1, name="small, or not")


def make(kind: str) -> Any:
    p = problem()
    w = p.initial_weights(0)
    if kind == "trajectory":
        return ao.flow(p, w, horizon=2.0, steps=6)
    if kind == "flow with a rate":
        return ao.flow(p, w, horizon=2.0, steps=6, rate=lambda t: 1.0 / (1.0 + t), method="rk4")
    if kind == "path":
        return ao.least_action_path(ao.Drift(1, lambda ops, x: x - x**3), [-1.0], [1.0])
    if kind == "solution":
        return ao.train(p, w, solver="newton", second_order=True)
    if kind == "solution of a program":
        bounds = (-0.7, 0.7)
        norm = ao.Constraint(lambda ops, v: ops.sum(v * v), on=p.modules[1], upper=0.5)
        return ao.train(p, w, solver="ipopt", bounds=bounds, constraints=[norm], throw=False)
    if kind == "check":
        return ao.check_adjoints(p, w)
    return ao.certify(p, ao.flow(p, w, horizon=1.0, steps=4))


KINDS = ("trajectory", "flow with a rate", "path", "solution", "solution of a program", "check", "certificate")


@pytest.fixture(scope="module", params=KINDS)
def result(request: pytest.FixtureRequest) -> Any:
    return make(request.param)


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Compare results field by field: values, shapes and types; what JSON turned into lists may be tuples."""
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, err_msg=where)
        assert found.dtype == expected.dtype, where
    elif is_dataclass(expected) and not isinstance(expected, type):
        assert type(found) is type(expected), where
        for field in fields(expected):
            assert_same(getattr(found, field.name), getattr(expected, field.name), f"{where}.{field.name}")
    elif isinstance(expected, dict):
        assert set(found) == set(expected), where
        for key, value in expected.items():
            assert_same(found[key], value, f"{where}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_same(a, b, f"{where}[{k}]")
    else:
        assert found == expected or (found != found and expected != expected), where


def test_saved_loaded_equal(result: Any, tmp_path: Path) -> None:
    path = result.save(tmp_path / "result.npz")
    assert_same(type(result).load(path), result)
    again = type(result).load(path).save(tmp_path / "again.npz")
    assert_same(type(result).load(again), result)
    assert {file.name for file in tmp_path.iterdir()} == {"result.npz", "again.npz"}


def test_tables_are_equal(result: Any, tmp_path: Path) -> None:
    frame = result.to_pandas()
    text = result.save(tmp_path / "result.csv").read_text()
    assert text == result.to_csv()
    header, *rows = csv.reader(io.StringIO(text))
    assert header == list(frame.columns)
    read = np.array(rows, dtype=float)
    np.testing.assert_array_equal(read, frame.to_numpy(dtype=float))  # all digits
    assert len(read) > 0


def test_labelled_arrays(result: Any) -> None:
    pytest.importorskip("xarray")
    data = result.to_xarray()
    for name, values in data.variables.items():
        assert values.shape == tuple(data.sizes[axis] for axis in values.dims), name
    assert all(isinstance(value, (int, float, str)) for value in data.attrs.values())
    if isinstance(result, ao.Trajectory):
        np.testing.assert_array_equal(data["weights"].sel(time=result.times[2]), result.weights[2])
        assert data.attrs["action"] == result.action
    if isinstance(result, ao.Certificate):
        np.testing.assert_array_equal(data["rates"].sel(module=result.labels[1]), result.rates[:, 1])


def test_columns_are_what_they_say() -> None:
    flow, solution = make("trajectory"), make("solution")
    frame = flow.to_pandas()
    np.testing.assert_array_equal(frame["w_2"], flow.weights[:, 1])
    np.testing.assert_array_equal(frame["distance"], flow.distance)
    entries = solution.to_pandas()
    of_second = entries[(entries["module"] == 2) & (entries["sample"] == 4)]
    np.testing.assert_array_equal(of_second["multiplier"], solution.multipliers[1][4])
    np.testing.assert_array_equal(of_second["state"], solution.states[1][4])


def test_a_file_of_another_kind_or_changed_is_refused(result: Any, tmp_path: Path) -> None:
    other = make("certificate" if not isinstance(result, ao.Certificate) else "check")
    with pytest.raises(ao.InputError, match="was not written by"):
        type(result).load(other.save(tmp_path / "other.npz"))
    with pytest.raises(ao.InputError, match=r"is saved as \.npz, got the name"):
        result.save(tmp_path / "result.pkl")
    path = result.save(tmp_path / "result.npz")
    members = dict(np.load(path))
    name = next(name for name, array in members.items() if array.dtype == float and array.size)
    members[name] = members[name] + 1.0
    np.savez(path, **members)
    with pytest.raises(ao.InputError, match="was changed after it was written"):
        type(result).load(path)
    del members[name]
    np.savez(path, **members)
    with pytest.raises(ao.InputError):
        type(result).load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ao.InputError, match="truncated or no"):
        type(result).load(path)


def test_numbers_that_are_not_finite_come_back(tmp_path: Path) -> None:
    failed = ao.train(problem(), problem().initial_weights(0), solver="newton", max_iterations=1, throw=False)
    vars(failed)["stats"].update(odd=np.inf, worse=np.nan, inner={"low": -np.inf})
    assert_same(ao.Solution.load(failed.save(tmp_path / "failed.npz")), failed)


@pytest.mark.parametrize(("library", "method"), [("pandas", "to_pandas"), ("xarray", "to_xarray")])
def test_a_library_that_is_missing_is_named(library: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = make("solution")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ao.InputError, match=rf"{method} needs {library}: pip install '\.\[tables\]'"):
        getattr(found, method)()
