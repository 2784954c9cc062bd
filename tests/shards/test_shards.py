"""Samples in shards: the same numbers as in one place, wherever the shards lie."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric.kinds import METRICS
from tests.networks import NETWORKS

ROOT = Path(__file__).parents[2]


def build(first: int = 0, last: int = 41, seed: int = 3, **options: Any) -> ao.Problem:
    """Some of 41 samples: no number of shards divides it."""
    x = np.random.default_rng(seed).standard_normal((41, 3))
    labels = (x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] > 0.5)
    layers = [ao.Dense(3, 5, "tanh"), ao.Dense(5, 3)]
    options = {"mass": np.linspace(0.1, 0.3, 38), "weight_decay": 0.02, **options}
    return ao.Problem(layers, x[first:last], labels[first:last], ao.SoftmaxCrossEntropy(), **options)


def parts(executor: Any = None) -> ao.Shards:
    return ao.Shards([partial(build, *cut) for cut in ((0, 11), (11, 30), (30, 41))], executor=executor)


@pytest.fixture(scope="module")
def whole() -> ao.Problem:
    return build()


def close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    scale = abs(np.asarray(expected)).max()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerance * scale)


@pytest.mark.parametrize("joint", [False, True])
def test_sums_are_those_of_one_place(whole: ao.Problem, joint: bool, rng: np.random.Generator) -> None:
    w, v = whole.initial_weights(1), rng.standard_normal(whole.size)
    shards, metric = parts(), ao.LayerMetric(whole, w, joint=joint)
    close(shards.energy(w), whole.energy(w))
    close(shards.gradient(w), whole.gradient(w))
    at = shards.metric(w, joint=joint)
    close(at @ v, metric @ v)
    close(at.change(v), metric.change(v))
    for solve in ("cg", "primal"):
        close(shards.metric(w, joint=joint, solve=solve, tol=1e-14).solve(v), metric.solve(v))
    assert (shards.samples, shards.counts, shards.size) == (41, [11, 19, 11], 38)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("size", "trust"), [(0.5, None), ("model", None), ("model", 1e-3)])
@pytest.mark.parametrize("solve", ["cg", "primal"])
def test_steps_are_those_of_one_place(
    whole: ao.Problem, metric: str, size: float | str, trust: float | None, solve: str
) -> None:
    here = there = whole.initial_weights(0)
    first, second = ao.Momentum(0.5), ao.Momentum(0.5)
    shards, options = parts(), {"metric": metric, "trust": trust}
    for _ in range(3):
        here = ao.step(whole, here, size, momentum=first, tol=1e-13, **options)
        there = shards.step(there, size, momentum=second, solve=solve, tol=1e-13, **options)
    close(there, here)


@pytest.mark.parametrize("name", ["recurrent", "two heads", "tied"])
def test_networks(name: str) -> None:
    problem = NETWORKS[name]
    w = problem.initial_weights(0)
    shards = ao.Shards.of(problem, 2)
    close(shards.gradient(w), problem.gradient(w))
    close(shards.step(w, "model", tol=1e-13), ao.step(problem, w, "model", tol=1e-13))


def test_descend_goes_the_same_way(whole: ao.Problem) -> None:
    options = {"batch": 8, "epochs": 3, "seed": 5}
    here, there = ao.descend(whole, **options), ao.descend(parts(), **options)
    np.testing.assert_array_equal(there.last, here.last)  # batches are gathered: the same arithmetic
    close(there.energy, here.energy)
    validated = ao.descend(parts(), validation=parts(), **options)
    np.testing.assert_array_equal(validated.validation, validated.energy)


def test_samples_are_gathered_in_order(whole: ao.Problem) -> None:
    for which in ([40, 0, 12, 12, -1], slice(5, 35), np.arange(41) % 3 == 0):
        batch, expected = parts().take(which), whole.take(which)
        np.testing.assert_array_equal(batch.inputs, expected.inputs)
        np.testing.assert_array_equal(batch.target_array, expected.target_array)
    with pytest.raises(ao.InputError, match="at least one of 41 samples"):
        parts().take([41])
    with pytest.raises(ao.InputError, match="at least one of 41 samples"):
        parts().take([])


def spawned() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.slow
def test_processes_hold_a_shard_each(whole: ao.Problem) -> None:
    w = whole.initial_weights(0)
    expected = parts().step(w, "model")
    with spawned() as one, spawned() as two, ThreadPoolExecutor(2) as threads:
        for executor in ([one, two], one, threads):
            with parts(executor) as shards:
                np.testing.assert_array_equal(shards.step(w, "model"), expected)
        with parts([one, two]) as shards:
            np.testing.assert_array_equal(
                ao.descend(shards, batch=8, epochs=1).last, ao.descend(whole, batch=8, epochs=1).last
            )
            os.kill(next(iter(one._processes)), signal.SIGKILL)
            with pytest.raises(ao.SolverError, match="a worker died"):
                shards.gradient(w)


@pytest.mark.slow
def test_dask_sends_a_shard_again_where_a_worker_dies(whole: ao.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    w = whole.initial_weights(0)
    expected = parts().step(w, "model")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        shards = parts(client)
        np.testing.assert_array_equal(shards.step(w, "model"), expected)
        client.run(os.kill, next(iter(client.run(os.getpid).values())), signal.SIGKILL, wait=False, on_error="ignore")
        np.testing.assert_array_equal(shards.step(w, "model"), expected)


def test_shards_that_do_not_fit() -> None:
    with pytest.raises(ao.InputError, match="shard 1 is not of the same problem as shard 0"):
        ao.Shards([build(0, 9), build(9, 20, weight_decay=0.5)])
    with pytest.raises(ao.InputError, match="Shards takes a sequence of problems"):
        ao.Shards([])
    with pytest.raises(ao.InputError, match="a shard takes a Problem, got int"):
        ao.Shards([lambda: 3])
    with pytest.raises(ao.InputError, match="count must lie between 1 and the 41 samples, got 42"):
        ao.Shards.of(build(), 42)
    with pytest.raises(ao.InputError, match="solve must be 'cg' or 'primal' where samples lie in shards"):
        parts().metric(build().initial_weights(), solve="dual")
    with pytest.raises(ao.InputError, match="executor must have a method submit"):
        parts(3)


@pytest.mark.parametrize("function", [ao.flow, ao.train, ao.step, ao.LayerMetric])
def test_what_needs_all_samples_in_one_place_refuses(function: Any) -> None:
    with pytest.raises(ao.InputError, match="takes a Problem, got Shards"):
        function(parts(), build().initial_weights(), *([0.1] if function is ao.step else []))
