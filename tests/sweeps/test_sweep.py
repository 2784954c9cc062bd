"""Sweeps: the grid, failures, folders that go on, executors, and what a table can become."""

from __future__ import annotations

import csv
import io
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.executors import run_all
from actionopt.sweeps.code import code_digest
from actionopt.sweeps.grid import cases_of
from actionopt.sweeps.work import Work
from tests.sweeps.cases import build, descend, dying_once, slowly, sometimes

ROOT = Path(__file__).parents[2]
XOR = ROOT / "problems" / "xor.py"
OPTIONS: dict[str, Any] = {"width": [2, 3], "mass": [0.1, 1.0]}


def spawned(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def serial() -> ao.SweepTable:
    return ao.sweep(build, OPTIONS, seeds=3, run=descend)


def test_rows_are_the_grid_in_order(serial: ao.SweepTable) -> None:
    expected = [(width, mass, seed) for width in (2, 3) for mass in (0.1, 1.0) for seed in range(3)]
    assert [(row["width"], row["mass"], row["seed"]) for row in serial.rows] == expected
    for row in serial.rows:
        assert row["energy"] == descend(build(row["width"], row["mass"]), row["seed"])["energy"]
    assert serial.failed == []
    assert serial.columns == ("width", "mass", "seed", "energy", "size", "good", "word")


def test_one_value_and_named_seeds() -> None:
    table = ao.sweep(build, {"width": 2, "activation": ["tanh", "sin"]}, seeds=[7, 3], run=descend)
    assert [(row["activation"], row["seed"]) for row in table.rows] == [
        ("tanh", 7),
        ("tanh", 3),
        ("sin", 7),
        ("sin", 3),
    ]
    assert len(ao.sweep(build, {}, run=descend)) == 1


def test_a_problem_file_by_its_path() -> None:
    table = ao.sweep(XOR, {"width": [2, 4]}, run=descend)
    assert [row["size"] for row in table.rows] == [ao.load_problem(XOR, width=width).size for width in (2, 4)]


def test_failures_are_rows_with_their_message() -> None:
    table = ao.sweep(build, {"width": [2, 3]}, seeds=3, run=sometimes)
    assert [row["seed"] for row in table.rows] == [0, 2, 0, 2]
    assert [row["error"] for row in table.failed] == ["ValueError: seed one is unlucky"] * 2
    assert "failed: width=3, seed=1: ValueError: seed one is unlucky" in str(table)


def test_options_that_cannot_be_built_fail_alone() -> None:
    table = ao.sweep(build, {"width": [2, -1]}, run=descend)
    assert len(table) == 1
    assert table.failed[0]["error"].startswith("InputError: Dense: out_size must be a whole number")


@pytest.mark.parametrize("result", [3, {"energy": [1.0]}, {"seed": 1}, {"error": "x"}, {1: 2}])
def test_results_that_are_no_row(result: Any) -> None:
    table = ao.sweep(build, {"width": 2}, run=lambda problem, seed: result)
    assert table.failed[0]["error"].startswith("InputError: run(problem, seed) must") or "must be a number" in str(
        table
    )


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with ThreadPoolExecutor(3) if request.param == "threads" else spawned(2) as pool:
        yield pool


@pytest.mark.slow
def test_executors_give_the_same_table(executor: Executor, serial: ao.SweepTable, tmp_path: Path) -> None:
    table = ao.sweep(build, OPTIONS, seeds=3, run=descend, executor=executor, out=tmp_path)
    assert table.to_json() == serial.to_json()


@pytest.mark.slow
def test_dask_gives_the_same_table_though_a_worker_is_killed(
    serial: ao.SweepTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("ACTIONOPT_TEST_MARK", str(tmp_path / "mark"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        table = ao.sweep(build, OPTIONS, seeds=3, run=dying_once, executor=client, out=tmp_path / "out")
    assert (tmp_path / "mark").exists()
    assert table.failed == []
    assert table.to_json() == serial.to_json()


@pytest.mark.slow
def test_a_worker_that_dies_loses_nothing_that_was_finished(
    serial: ao.SweepTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIONOPT_TEST_MARK", str(tmp_path / "mark"))
    out = tmp_path / "out"
    with spawned(1) as pool, pytest.raises(ao.SolverError, match=r"a worker died .*run it again"):
        ao.sweep(build, OPTIONS, seeds=3, run=dying_once, executor=pool, out=out)
    kept = len(list((out / "rows").iterdir()))
    assert 1 <= kept < 12
    assert ao.sweep(build, OPTIONS, seeds=3, run=dying_once, out=out).to_json() == serial.to_json()


def test_mpi_workers(serial: ao.SweepTable) -> None:
    futures = pytest.importorskip("mpi4py.futures")
    with futures.MPIPoolExecutor(1) as pool:
        assert ao.sweep(build, OPTIONS, seeds=3, run=descend, executor=pool).to_json() == serial.to_json()


def test_finished_rows_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ao.sweep(build, {"width": [2]}, seeds=2, run=descend, out=tmp_path)
    calls: list[int] = []
    run = Work.__call__
    monkeypatch.setattr(Work, "__call__", lambda self, case: calls.append(case.seed) or run(self, case))
    again = ao.sweep(build, {"width": [2]}, seeds=3, run=descend, out=tmp_path)
    assert calls == [2]
    assert again.rows[:2] == first.rows
    assert [type(value) for value in again.rows[0].values()] == [type(value) for value in first.rows[0].values()]


def test_failed_rows_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(ao.sweep(build, {}, seeds=3, run=sometimes, out=tmp_path).failed) == 1
    monkeypatch.setattr("tests.sweeps.cases.sometimes.__code__", descend.__code__)
    assert ao.sweep(build, {}, seeds=3, run=sometimes, out=tmp_path).failed == []


def test_infinite_and_missing_numbers_come_back(tmp_path: Path) -> None:
    def odd(problem: Any, seed: int) -> dict[str, Any]:
        return {"nan": math.nan, "inf": -math.inf, "none": None, "integer": np.int64(3), "flag": np.bool_(True)}

    for _ in range(2):
        row = ao.sweep(build, {}, run=odd, out=tmp_path).rows[0]
        assert math.isnan(row["nan"])
        assert (row["inf"], row["none"], row["integer"], row["flag"]) == (-math.inf, None, 3, True)


def test_an_out_of_another_sweep_is_refused(tmp_path: Path) -> None:
    ao.sweep(build, {}, run=descend, out=tmp_path)
    with pytest.raises(ao.InputError, match=r"holds another sweep \(its run differs\): give another out"):
        ao.sweep(build, {}, run=sometimes, out=tmp_path)
    with pytest.raises(ao.InputError, match=r"holds another sweep \(its build differs\)"):
        ao.sweep(XOR, {}, run=descend, out=tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(ao.InputError, match=r"sweep\.json is no record of a sweep"):
        ao.sweep(build, {}, run=descend, out=tmp_path)


def test_rows_of_changed_data_are_run_again(tmp_path: Path) -> None:
    data, file = tmp_path / "data.txt", tmp_path / "mine.py"
    file.write_text(
        "from pathlib import Path\nimport numpy as np\nimport actionopt as ao\n\ndef build():\n"
        "    x = np.loadtxt(Path(__file__).with_name('data.txt'))\n"
        "    return ao.Problem(ao.Dense(1, 1), x, 2.0 * x, ao.SquaredError())\n"
    )
    found = []
    for values in ([1.0, 2.0], [1.0, 5.0]):
        np.savetxt(data, values)
        found.append(ao.sweep(file, {}, run=descend, out=tmp_path / "out").rows[0]["energy"])
        assert found[-1] == descend(ao.load_problem(file), 0)["energy"]
    assert found[0] != found[1]


def test_a_damaged_row_is_run_again(tmp_path: Path, serial: ao.SweepTable) -> None:
    ao.sweep(build, OPTIONS, seeds=3, run=descend, out=tmp_path)
    for path, text in zip(sorted((tmp_path / "rows").iterdir()), ("", "[]", '{"row": 3}', "{"), strict=False):
        path.write_text(text)
    assert ao.sweep(build, OPTIONS, seeds=3, run=descend, out=tmp_path).to_json() == serial.to_json()


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on(serial: ao.SweepTable, tmp_path: Path) -> None:
    code = (
        "import actionopt as ao; from tests.sweeps.cases import build, slowly; "
        f"ao.sweep(build, {OPTIONS!r}, seeds=3, run=slowly, out={str(tmp_path)!r})"
    )
    for wait in (1, 4, 7):
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
            while len(list(tmp_path.glob("rows/*.json"))) < wait:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob("rows/*.json"))) < 12
    table = ao.sweep(build, OPTIONS, seeds=3, run=slowly, out=tmp_path)
    assert table.to_json() == serial.to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": [1]}, "options must be a mapping"),
        ({"options": {"width": []}}, "option 'width' has no values"),
        ({"options": {"with": [2]}}, "unknown option of build 'with'; did you mean 'width'"),
        ({"seeds": 0}, "seeds must be how many, at least 1"),
        ({"seeds": [1, -1]}, "seeds must be whole numbers >= 0, got -1"),
        ({"seeds": [1, 1]}, "the same options and seed twice"),
        ({"run": 3}, r"run must be a function run\(problem, seed\), got 3"),
        ({"executor": 3}, "executor must have a method submit"),
        ({"build": "nowhere.py"}, "no problem file nowhere.py"),
    ],
)
def test_wrong_sweeps(change: dict[str, Any], message: str) -> None:
    asked = {"build": build, "options": {}, "run": descend, **change}
    with pytest.raises(ao.InputError, match=message):
        ao.sweep(asked.pop("build"), asked.pop("options"), **asked)


def test_a_function_that_cannot_travel_is_named() -> None:
    with (
        spawned(1) as pool,
        pytest.raises(ao.InputError, match=r"cannot send this to another process: .*top of a module"),
    ):
        ao.sweep(build, {}, run=lambda problem, seed: {}, executor=pool)


def test_order_of_completion_does_not_matter() -> None:
    with ThreadPoolExecutor(4) as pool:
        waits = [0.2, 0.0, 0.1, 0.05]
        found = list(run_all(lambda wait: time.sleep(wait) or wait, waits, pool))
    assert sorted(found) == list(enumerate(waits))
    assert [index for index, _ in found] != [0, 1, 2, 3]


def test_keys_are_the_same_everywhere() -> None:
    code = "from actionopt.sweeps.grid import cases_of; print(cases_of({'a': [1.5, 'x']}, 2)[3].key)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == cases_of({"a": [1.5, "x"]}, 2)[3].key


def test_formats(serial: ao.SweepTable, tmp_path: Path) -> None:
    read = list(csv.DictReader(io.StringIO(serial.save(tmp_path / "t.csv").read_text())))
    assert [float(row["energy"]) for row in read] == [row["energy"] for row in serial.rows]
    assert json.loads(serial.save(tmp_path / "t.json").read_text())["rows"] == serial.rows
    assert serial.save(tmp_path / "t.txt").read_text().splitlines()[0].split() == list(serial.columns)
    assert "<table>" in serial._repr_html_()
    with pytest.raises(ao.InputError, match=r"must end in \.csv, \.json, \.txt"):
        serial.save(tmp_path / "t.pkl")


def test_pandas(serial: ao.SweepTable) -> None:
    pytest.importorskip("pandas")
    frame = serial.to_pandas()
    assert list(frame.columns) == list(serial.columns)
    assert frame.groupby("width")["energy"].median()[3] == np.median(
        [r["energy"] for r in serial.rows if r["width"] == 3]
    )


def test_figure_of_medians(serial: ao.SweepTable) -> None:
    ax = serial.plot("energy")
    medians = [np.median([r["energy"] for r in serial.rows if (r["width"], r["mass"]) == (w, 0.1)]) for w in (2, 3)]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), medians)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mass 0.1", "mass 1.0"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "energy")
    with pytest.raises(ao.InputError, match="unknown column 'enrgy'; did you mean 'energy'"):
        serial.plot("enrgy")
    with pytest.raises(ao.InputError, match="'word' is not a number in every row"):
        serial.plot("word")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    words = (sys.executable, "-m", "actionopt", "sweep", str(XOR), *words)
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.slow
def test_command(tmp_path: Path) -> None:
    words = ["--set", "width=2,3", "--seeds", "2", "--do", "check", "--out", str(tmp_path / "out"), "--json"]
    two = command(*words, "--workers", "2")
    assert (two.returncode, two.stderr) == (0, "")
    rows = json.loads(two.stdout)["rows"]
    assert [(row["width"], row["seed"], row["ok"]) for row in rows] == [(w, s, True) for w in (2, 3) for s in (0, 1)]
    assert command(*words).stdout == two.stdout
    assert (tmp_path / "out" / "table.csv").read_text().count("\n") == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "width"], "--set takes key=values, such as --set width=4,8,16; got 'width'"),
        (["--set", "wdth=2"], "unknown option of"),
        (["--do", "fly"], "unknown action 'fly'"),
        (["--seeds", "many"], "--seeds takes how many, or which, such as 20 or 3,5,8; got 'many'"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
    ],
)
def test_wrong_commands(words: list[str], message: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def written(folder: Path, name: str, helper: str, factor: str = "1.0") -> Any:
    """Import a module with a `run` and what it calls."""
    text = f"FACTOR = {factor}\n\ndef helper(x):\n    return {helper}\n\n"
    text += "def run(problem, seed):\n    return {'x': helper(FACTOR)}\n"
    (folder / f"{name}.py").write_text(text)
    module = types.ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), vars(module))
    return module.run


@pytest.mark.parametrize(
    ("second", "value"),
    [(("x + 2.0", "1.0"), 3.0), (("x + 1.0", "5.0"), 6.0), (("x + 1.0  # said again", "1.0"), 2.0)],
)
def test_rows_of_other_code_are_run_again(tmp_path: Path, second: tuple[str, str], value: float) -> None:
    out = tmp_path / "out"
    assert ao.sweep(build, {}, run=written(tmp_path, "mine", "x + 1.0"), out=out).rows[0]["x"] == 2.0
    again = ao.sweep(build, {}, run=written(tmp_path, "mine", *second), out=out)
    assert again.rows[0]["x"] == value


def test_digests_of_code() -> None:
    def made(number: float) -> Any:
        return lambda problem, seed: {"x": number}

    same = code_digest(made(1.0))
    assert code_digest(made(1.0)) == same
    assert code_digest(made(2.0)) != same
    assert code_digest(partial(descend, 1)) != code_digest(partial(descend, 2))
    assert code_digest(descend) == code_digest(descend) != code_digest(sometimes)
    here = subprocess.run(
        [sys.executable, "-c", "from tests.sweeps.cases import *; from actionopt.sweeps.code import *; "
         "print(code_digest(descend))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert here.stdout.strip() == code_digest(descend)


@pytest.mark.slow
def test_threads_of_dask_and_what_it_cannot_send() -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        table = ao.sweep(build, OPTIONS, seeds=3, run=descend, executor=client)
        assert table.to_json() == ao.sweep(build, OPTIONS, seeds=3, run=descend).to_json()
        lock = threading.Lock()
        with pytest.raises(ao.InputError, match="cannot send this to another process"):
            ao.sweep(build, {}, run=lambda problem, seed: {"x": lock.locked()}, executor=client)


def test_other_work_takes_the_same_executors() -> None:
    problem = ao.load_problem(XOR, width=2)
    w = problem.initial_weights(1)
    with ThreadPoolExecutor(2) as pool:
        box = {"box": (w - 0.1, w + 0.1), "samples": 25, "refine": 0}
        np.testing.assert_array_equal(
            ao.worst_rate(problem, executor=pool, **box).rates, ao.worst_rate(problem, **box).rates
        )
        bad = np.tile(w, (20, 1))
        bad[13] *= 1e200
        with pytest.raises(ao.InputError, match=r"point 13: "):
            ao.worst_rate(problem, points=bad, executor=pool)
    with pytest.raises(ao.InputError, match="executor must have a method submit"):
        ao.worst_rate(problem, executor=3, **box)
    with pytest.raises(ao.InputError, match="executor must have a method submit"):
        ao.measure_stability(problem, horizon=0.1, replacements=1, executor=3)
    with pytest.raises(ao.InputError, match="executor must have a method submit"):
        ao.quasipotential(ao.Drift(1, lambda ops, x: -x), [0.0], [[1.0]], executor=3)
