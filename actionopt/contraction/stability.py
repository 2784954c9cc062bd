"""Stability measured: replace one sample, train by the flow, compare."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from actionopt.action.flow import flow
from actionopt.action.progress import progress_bar
from actionopt.contraction.bounds import stability_bound
from actionopt.contraction.lipschitz import gradient_norms
from actionopt.contraction.rate import rates_along
from actionopt.contraction.stability_result import Stability
from actionopt.errors import InputError, SolverError
from actionopt.executors import run_in_order
from actionopt.metric.kinds import kind_of
from actionopt.ops import NUMPY
from actionopt.problem import Problem

RATE_NODES = 5  # nodes of each trajectory at which its contraction rate is computed
Source = Problem | Callable[[], Problem]


def measure_stability(
    problem: Source,
    *,
    horizon: float,
    replacements: int = 5,
    shuffles: int = 2,
    sizes: int | Sequence[int] | None = None,
    steps: int = 50,
    w0: Any = None,
    metric: str = "layerwise",
    method: str = "implicit_midpoint",
    seed: int = 0,
    executor: Any = None,
    progress: bool = False,
) -> Stability:
    """Replace one training sample, train by the flow from the same start, and compare.

    The problem's samples are shuffled; a size n trains on the first n of them. Each replacement puts a sample from
    outside the largest training set in the place of one from inside the smallest: the same pairs for all sizes.

    Parameters
    ----------
    problem : Problem or callable without arguments that returns one
        A callable is called where the training runs: `functools.partial(ao.load_problem, "problems/digits.py")`
        travels to any machine, also where the problem's own classes would not.
    horizon : float
        Time to train for.
    replacements : int
        How many replacements in each training set.
    shuffles : int
        How many orders of the samples, so that slopes do not hang on one training set.
    sizes : int or sequence of int, optional
        Numbers of training samples, smaller than the problem's; half of its samples where None.
    steps, method, metric
        Of `flow`.
    w0 : array (n,), optional
        Where all flows start; `problem.initial_weights(seed)` where None.
    seed : int
        Of the shuffle, the replacements and the start.
    executor : optional
        Runs the trainings, as for `sweep`: of `concurrent.futures` or `mpi4py.futures`, or a `Client` of
        dask.distributed. One after the other in this process where None; the results are the same.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Stability

    Raises
    ------
    InputError
        For sizes, replacements or a problem that cannot be used, or a problem that cannot travel to the executor.
    SolverError
        If a flow stops early.

    Examples
    --------
    >>> moved = ao.measure_stability(problem, horizon=1.0, steps=5, replacements=2)
    >>> bool((moved.distances > 0).any())
    True
    """
    pool = problem if isinstance(problem, Problem) else problem()
    numbers = _sizes(pool, sizes)
    draws = _draws(pool.samples, numbers, replacements, shuffles, seed)
    start = pool.check_weights(pool.initial_weights(seed) if w0 is None else w0, "w0")
    options = {"horizon": horizon, "steps": steps, "metric": metric, "method": method}
    tasks = [
        _Training(pool if executor is None else problem, order[:n], pair, pairs, start, options)
        for n in numbers
        for order, pairs in draws
        for pair in (None, *map(tuple, pairs))
    ]
    with progress_bar(len(tasks), "trainings", progress) as tick:
        trained = _run(tasks, executor, tick)
    return _gather(pool, numbers, shuffles, trained, float(horizon), metric)


@dataclass(frozen=True)
class _Training:
    """One training, as it travels to an executor: the indices trained on and the pair (out, in) replaced."""

    source: Source
    indices: np.ndarray
    pair: tuple[int, int] | None
    pairs: np.ndarray
    start: np.ndarray
    options: dict[str, Any]

    def __call__(self) -> _Trained:
        pool = self.source if isinstance(self.source, Problem) else _built(pickle.dumps(self.source))
        indices = self.indices
        if self.pair is not None:
            indices = np.where(indices == self.pair[0], self.pair[1], indices)
        problem = pool.take(indices)
        try:
            trajectory = flow(problem, self.start, certify=False, **self.options)
        except SolverError as error:
            which = "no sample" if self.pair is None else f"sample {self.pair[0]} by {self.pair[1]}"
            raise SolverError(f"training on {len(indices)} samples, {which} replaced: {error}", error.result) from error
        weights = trajectory.weights[-1]
        replaced = pool.take(np.unique(self.pairs) if self.pair is None else np.array(self.pair))
        kappa = max(
            gradient_norms(pool, weights).max(), *(gradient_norms(replaced, w).max() for w in trajectory.weights)
        )
        network = pool.network
        losses = network.values(NUMPY, network.forward(NUMPY, network.split(NUMPY, weights)))
        return _Trained(weights, losses, float(kappa), self._rate(problem, trajectory.weights))

    def _rate(self, problem: Problem, nodes: np.ndarray) -> float | None:
        """Smallest rate at some nodes of the unperturbed flow, where its metric does not depend on the data."""
        constant = kind_of(self.options["metric"]).constant(problem)
        if self.pair is not None or not constant:
            return None
        chosen = np.unique(np.linspace(0, len(nodes) - 1, RATE_NODES).astype(int))
        return float(rates_along(problem, nodes[chosen], metric=self.options["metric"]).min())


@dataclass(frozen=True)
class _Trained:
    weights: np.ndarray
    losses: np.ndarray
    kappa: float
    rate: float | None


@lru_cache(maxsize=1)
def _built(pickled: bytes) -> Problem:
    """Build a problem once a process, however many of its trainings arrive one by one."""
    build: Callable[[], Problem] = pickle.loads(pickled)
    return build()


def _sizes(pool: Problem, sizes: int | Sequence[int] | None) -> list[int]:
    sizes = pool.samples // 2 if sizes is None else sizes
    numbers = sorted({int(n) for n in np.atleast_1d(sizes)})
    if not numbers or numbers[0] < 1 or numbers[-1] >= pool.samples:
        raise InputError(
            f"sizes must lie between 1 and {pool.samples - 1}: replacements come from the problem's other samples, of "
            f"which it has {pool.samples} in all; got {sizes}"
        )
    return numbers


def _draws(samples: int, sizes: list[int], count: int, shuffles: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each shuffle the order of the samples, and the pairs `(count, 2)` that leave and that come instead."""
    if not 1 <= count <= sizes[0]:
        raise InputError(f"replacements must lie between 1 and {sizes[0]}, the smallest size; got {count}")
    if shuffles < 1:
        raise InputError(f"shuffles must be >= 1, got {shuffles}")
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(shuffles):
        order = rng.permutation(samples)
        leaving = rng.permutation(order[: sizes[0]])[:count]
        draws.append((order, np.stack([leaving, rng.choice(order[sizes[-1] :], size=count)], axis=1)))
    return draws


def _run(tasks: list[_Training], executor: Any, tick: Callable[[], Any]) -> list[_Trained]:
    """Run the tasks, here or there."""
    try:
        return run_in_order(_call, tasks, executor, tick)
    except (InputError, SolverError, pickle.PicklingError, AttributeError, TypeError, ImportError) as error:
        if executor is None or not callable(getattr(executor, "submit", None)) or _travels(tasks[0].source):
            raise
        raise InputError(
            f"the problem did not travel to the executor ({error}). Pass a callable that builds it there, such as "
            "functools.partial(ao.load_problem, 'problems/xor.py'), and keep formulas out of lambdas"
        ) from error


def _travels(source: Source) -> bool:
    try:
        pickle.loads(pickle.dumps(source))
    except Exception:
        return False
    return True


def _call(task: _Training) -> _Trained:
    return task()


def _gather(
    pool: Problem, sizes: list[int], shuffles: int, trained: list[_Trained], horizon: float, metric: str
) -> Stability:
    """Compare the trainings of each size and shuffle with their unperturbed one, which comes first."""
    each = len(trained) // (len(sizes) * shuffles)
    groups = [trained[i : i + each] for i in range(0, len(trained), each)]

    def a_size(rows: list[list[Any]]) -> np.ndarray:
        return np.array(rows).reshape(len(sizes), -1)

    distances = a_size([[np.linalg.norm(one.weights - base.weights) for one in rest] for base, *rest in groups])
    changes = a_size([[abs(one.losses - base.losses).max() for one in rest] for base, *rest in groups])
    kappas = a_size([[one.kappa for one in group] for group in groups]).max(axis=1)
    rates = bounds = None
    if groups[0][0].rate is not None:
        rates = a_size([[base.rate] for base, *_ in groups]).min(axis=1)
        bounds = _bounds(pool, sizes, kappas, rates, horizon)
    return Stability(np.array(sizes), distances, changes, kappas, rates, bounds, horizon, metric)


def _bounds(pool: Problem, sizes: list[int], kappas: np.ndarray, rates: np.ndarray, horizon: float) -> np.ndarray:
    mass = pool.mass.min()
    return np.array(
        [
            stability_bound(kappa=kappa, rate=rate, mass=mass, samples=n, horizon=horizon) if rate > 0 else np.inf
            for n, kappa, rate in zip(sizes, kappas, rates, strict=True)
        ]
    )
