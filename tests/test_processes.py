"""Systems of problem files in other processes: pickled as file and options, built again there."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from actionopt.loading import load_file

ROOT = Path(__file__).parents[1]
FILES = sorted(path for path in (ROOT / "problems").glob("*.py") if not path.name.startswith("_"))

MODULES = """
import actionopt as ao

class Square(ao.Module):
    in_size, out_size, weight_size = 1, 1, 1

    def forward(self, ops, w, z):
        return FACTOR * ops.unpack(w, (1,)) * z

def build():
    return ao.Problem(Square(), [1.0, 2.0], [1.0, 2.0], ao.CustomLoss(lambda ops, y, t: ops.sum((y - t) ** 2)))
"""


def value_of(system: object) -> float:
    """Evaluate a system somewhere, in whatever process this runs."""
    if isinstance(system, ao.Problem):
        return float(system.energy(system.initial_weights(1)))
    assert isinstance(system, ao.Lagrangian)
    from actionopt.ops import NUMPY

    w = np.linspace(0.1, 0.5, system.size)
    return float(system.value(NUMPY, w, 0.5 * w))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_problem_pickles(path: Path) -> None:
    system = ao.load_problem(path)
    again = pickle.loads(pickle.dumps(system))
    assert again is not system
    assert value_of(again) == value_of(system)


@pytest.mark.slow
def test_spawned_processes_compute_the_same() -> None:
    chosen = [ROOT / "problems" / name for name in ("lqr.py", "maier_stein.py", "xor.py")]
    systems = [ao.load_problem(path) for path in chosen]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(value_of, systems)) == [value_of(system) for system in systems]


def test_options_go_with_it() -> None:
    problem = ao.load_problem(ROOT / "problems" / "xor.py", width=3)
    assert (
        pickle.loads(pickle.dumps(problem)).size == problem.size != ao.load_problem(ROOT / "problems" / "xor.py").size
    )


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    paths = []
    for factor in (1.0, 3.0):
        folder = tmp_path / str(factor)
        folder.mkdir()
        paths.append(folder / "mine.py")
        paths[-1].write_text(MODULES.replace("FACTOR", str(factor)))
    first, second = (ao.load_problem(path) for path in paths)
    for problem in (first, second):
        again = pickle.loads(pickle.dumps(problem))
        assert again.outputs([1.0]).tolist() == problem.outputs([1.0]).tolist()
    assert first.outputs([1.0]).tolist() != second.outputs([1.0]).tolist()


def test_objects_of_a_files_classes_pickle(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MODULES.replace("FACTOR", "2.0"))
    module = load_file(path).Square()
    again = pickle.loads(pickle.dumps(module))
    assert type(again) is type(module)


def test_what_was_changed_is_not_replaced_by_the_file() -> None:
    problem = ao.load_problem(ROOT / "problems" / "xor.py")
    some = problem.take(slice(0, 2))
    assert pickle.loads(pickle.dumps(some)).samples == 2
    problem.weight_decay = 7.0
    assert pickle.loads(pickle.dumps(problem)).weight_decay == 7.0


def test_problems_made_by_hand_pickle_as_before() -> None:
    problem = ao.Problem([ao.Dense(2, 3, "tanh"), ao.Dense(3, 1)], np.ones((4, 2)), np.ones(4), ao.SquaredError())
    again = pickle.loads(pickle.dumps(problem))
    w = problem.initial_weights(0)
    assert again.gradient(w).tobytes() == problem.gradient(w).tobytes()
