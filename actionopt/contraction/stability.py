"""Stability measured: replace one sample, train by the flow, compare."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.action.flow import flow
from actionopt.action.progress import progress_bar
from actionopt.contraction.bounds import stability_bound
from actionopt.contraction.lipschitz import gradient_norms
from actionopt.contraction.rate import rates_along
from actionopt.errors import InputError, SolverError
from actionopt.ops import NUMPY
from actionopt.problem import Problem
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATE_NODES = 5  # nodes of each trajectory at which its contraction rate is computed
Source = Problem | Callable[[], Problem]


@dataclass(frozen=True)
class Stability:
    """What replacing one sample changed, for each number of samples.

    Attributes
    ----------
    sizes : array (k,)
        Numbers n of training samples.
    distances : array (k, r)
        `|w - w'|`, Euclidean, at the horizon, for each of r replacements.
    loss_changes : array (k, r)
        Largest `|loss_z(w) - loss_z(w')|` over all samples z of the problem, trained on or not.
    kappas : array (k,)
        Largest norm of a sample's gradient met: at every node for the samples replaced, at the horizon for all.
    rates : array (k,) or None
        Smallest contraction rate at nodes of the unperturbed trajectory; None where the metric depends on the data, so
        that the bound does not apply.
    bounds : array (k,) or None
        `stability_bound` on the loss with these kappas and rates, infinite where the flow does not contract.
    horizon : float
    metric : str
    """

    sizes: np.ndarray
    distances: np.ndarray
    loss_changes: np.ndarray
    kappas: np.ndarray
    rates: np.ndarray | None
    bounds: np.ndarray | None
    horizon: float
    metric: str

    @property
    def slope(self) -> float:
        """Slope of log(mean distance) against log(n), by least squares; -1 is uniform stability O(1/n)."""
        return fitted_slope(self.sizes, self.distances.mean(axis=1))

    @property
    def loss_slope(self) -> float:
        """The same for the mean change of the loss."""
        return fitted_slope(self.sizes, self.loss_changes.mean(axis=1))

    @property
    def ok(self) -> bool:
        """Whether every change of the loss is below the bound; true where no bound applies."""
        return self.bounds is None or bool((self.loss_changes.max(axis=1) <= self.bounds).all())

    @property
    def status(self) -> str:
        """ "below the bound", "above the bound" or "no bound"."""
        if self.bounds is None or np.isinf(self.bounds).all():
            return "no bound"
        return "below the bound" if self.ok else "above the bound"

    @property
    def message(self) -> str:
        """The slopes, and what they may be compared with."""
        slopes = "" if len(self.sizes) < 2 else f"slopes {self.slope:.3f} (weights), {self.loss_slope:.3f} (loss); "
        if self.bounds is None:
            return f"{slopes}no bound applies: the {self.metric} metric depends on the data"
        if np.isinf(self.bounds).all():
            return f"{slopes}no bound applies: the flow does not contract along its trajectory"
        return f"{slopes}every change is {self.status}"

    def table(self) -> str:
        """Write a line a size: mean and largest changes, and the bound where there is one."""
        return text_table(*self._cells())

    def _cells(self) -> tuple[list[str], list[list[Any]]]:
        headers = ["samples", "mean |dw|", "largest |dw|", "mean |dloss|", "largest |dloss|"]
        columns = [self.sizes, self.distances.mean(axis=1), self.distances.max(axis=1)]
        columns += [self.loss_changes.mean(axis=1), self.loss_changes.max(axis=1)]
        if self.bounds is not None and self.rates is not None:
            headers += ["rate", "bound on |dloss|"]
            columns += [self.rates, self.bounds]
        return headers, [list(row) for row in zip(*columns, strict=True)]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the changes of the loss against n, both axes logarithmic, into `ax` or a new figure."""
        from actionopt import figures

        ax = figures.axes(ax)
        changes = self.loss_changes.mean(axis=1)
        ax.loglog(np.repeat(self.sizes, self.loss_changes.shape[1]), self.loss_changes.ravel(), ".", color=figures.GREY,
                  alpha=0.5, label="each replacement")  # fmt: skip
        slope = f", slope {self.loss_slope:.2f}" if len(self.sizes) > 1 else ""
        ax.loglog(self.sizes, changes, "o-", label=f"mean of {self.loss_changes.shape[1]}{slope}")
        if self.bounds is not None and np.isfinite(self.bounds).any():
            ax.loglog(self.sizes, self.bounds, "--", label="bound (ours)")
        ax.set_xlabel("training samples n")
        ax.set_ylabel("largest change of a sample's loss")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        return f"Stability({self.message}; {len(self.sizes)} sizes, {self.distances.shape[1]} replacements)"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), self.message)


def fitted_slope(sizes: np.ndarray, values: np.ndarray) -> float:
    """Return the least-squares slope of log(values) against log(sizes).

    Raises
    ------
    InputError
        If there are fewer than two sizes, or a value is not positive.
    """
    if len(sizes) < 2 or not (values > 0.0).all():
        raise InputError("a slope needs at least two sizes and positive values")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure_stability(
    problem: Source,
    *,
    horizon: float,
    replacements: int = 10,
    sizes: int | Sequence[int] | None = None,
    steps: int = 50,
    w0: Any = None,
    metric: str = "layerwise",
    method: str = "implicit_midpoint",
    seed: int = 0,
    executor: Executor | None = None,
    progress: bool = False,
) -> Stability:
    """Replace one training sample, train by the flow from the same start, and compare.

    The problem's samples are shuffled once; a size n trains on the first n of them. Each replacement puts a sample
    from outside the largest training set in the place of one from inside the smallest: the same pairs for all sizes.

    Parameters
    ----------
    problem : Problem or callable without arguments that returns one
        A callable is called where the training runs: `functools.partial(ao.load_problem, "problems/digits.py")`
        travels to any machine, also where the problem's own classes would not.
    horizon : float
        Time to train for.
    replacements : int
        How many replacements for each size.
    sizes : int or sequence of int, optional
        Numbers of training samples, smaller than the problem's; half of its samples where None.
    steps, method, metric
        Of `flow`.
    w0 : array (n,), optional
        Where all flows start; `problem.initial_weights(seed)` where None.
    seed : int
        Of the shuffle, the replacements and the start.
    executor : concurrent.futures.Executor, optional
        Runs the trainings: a `ProcessPoolExecutor`, `mpi4py.futures.MPIPoolExecutor`, or what dask.distributed's
        `Client.get_executor()` returns. One after the other in this process where None; the results are the same.
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
    """
    pool = problem if isinstance(problem, Problem) else problem()
    numbers = _sizes(pool, sizes)
    order, pairs = _replacements(pool.samples, numbers, replacements, seed)
    start = pool.check_weights(pool.initial_weights(seed) if w0 is None else w0, "w0")
    options = {"horizon": horizon, "steps": steps, "metric": metric, "method": method}
    tasks = [
        _Training(problem, order[:n], pair, pairs, start, options)
        for n in numbers
        for pair in (None, *map(tuple, pairs))
    ]
    with progress_bar(len(tasks), "trainings", progress) as tick:
        trained = []
        for one in _run(tasks, executor):
            trained.append(one)
            tick()
    return _gather(pool, numbers, len(pairs), trained, horizon, metric)


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
        pool = self.source if isinstance(self.source, Problem) else self.source()
        indices = self.indices
        if self.pair is not None:
            indices = np.where(indices == self.pair[0], self.pair[1], indices)
        problem = subset(pool, indices)
        try:
            trajectory = flow(problem, self.start, **self.options)
        except SolverError as error:
            which = "no sample" if self.pair is None else f"sample {self.pair[0]} by {self.pair[1]}"
            raise SolverError(f"training on {len(indices)} samples, {which} replaced: {error}", error.result) from error
        weights = trajectory.weights[-1]
        replaced = subset(pool, np.unique(self.pairs) if self.pair is None else np.array(self.pair))
        kappa = max(
            gradient_norms(pool, weights).max(), *(gradient_norms(replaced, w).max() for w in trajectory.weights)
        )
        losses = pool.loss.value(NUMPY, pool.outputs(weights), pool.target_array)
        return _Trained(weights, losses, float(kappa), self._rate(problem, trajectory.weights))

    def _rate(self, problem: Problem, nodes: np.ndarray) -> float | None:
        """Smallest rate at some nodes of the unperturbed flow, where its metric does not depend on the data."""
        constant = self.options["metric"] == "euclidean" or problem.output_metric is None
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


def subset(problem: Problem, indices: np.ndarray) -> Problem:
    """Return the problem on some of its samples, with the same modules, loss and metric."""
    targets = None if problem.targets is None else np.asarray(problem.targets)[indices]
    return Problem(
        problem.modules,
        problem.inputs[indices],
        targets,
        problem.loss,
        mass=problem.mass,
        output_metric=problem.output_metric,
        weight_decay=problem.weight_decay,
        name=problem.name,
    )


def _sizes(pool: Problem, sizes: int | Sequence[int] | None) -> list[int]:
    sizes = pool.samples // 2 if sizes is None else sizes
    numbers = sorted({int(n) for n in np.atleast_1d(sizes)})
    if not numbers or numbers[0] < 1 or numbers[-1] >= pool.samples:
        raise InputError(
            f"sizes must lie between 1 and {pool.samples - 1}: replacements come from the problem's other samples, of "
            f"which it has {pool.samples} in all; got {sizes}"
        )
    return numbers


def _replacements(samples: int, sizes: list[int], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the shuffled order and the pairs `(r, 2)` of samples that leave and that come instead."""
    if not 1 <= count <= sizes[0]:
        raise InputError(f"replacements must lie between 1 and {sizes[0]}, the smallest size; got {count}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(samples)
    leaving = rng.permutation(order[: sizes[0]])[:count]
    coming = rng.choice(order[sizes[-1] :], size=count)
    return order, np.stack([leaving, coming], axis=1)


def _run(tasks: list[_Training], executor: Executor | None) -> Iterable[_Trained]:
    """Run the tasks in order, here or there."""
    if executor is None:
        yield from (task() for task in tasks)
        return
    try:
        yield from executor.map(_call, tasks)
    except (pickle.PicklingError, AttributeError, TypeError, ImportError) as error:
        raise InputError(
            f"the problem cannot travel to the executor ({error}). Pass a callable that builds it there, such as "
            "functools.partial(ao.load_problem, 'problems/xor.py'), and keep formulas out of lambdas"
        ) from error


def _call(task: _Training) -> _Trained:
    return task()


def _gather(
    pool: Problem, sizes: list[int], count: int, trained: list[_Trained], horizon: float, metric: str
) -> Stability:
    """Compare each size's trainings with its unperturbed one, which comes first."""
    groups = [trained[i : i + count + 1] for i in range(0, len(trained), count + 1)]
    distances = [[np.linalg.norm(one.weights - base.weights) for one in rest] for base, *rest in groups]
    changes = [[abs(one.losses - base.losses).max() for one in rest] for base, *rest in groups]
    kappas = np.array([max(one.kappa for one in group) for group in groups])
    rates = None if groups[0][0].rate is None else np.array([base.rate for base, *_ in groups])
    bounds = None if rates is None else _bounds(pool, sizes, kappas, rates, horizon)
    return Stability(
        np.array(sizes), np.array(distances), np.array(changes), kappas, rates, bounds, float(horizon), metric
    )


def _bounds(pool: Problem, sizes: list[int], kappas: np.ndarray, rates: np.ndarray, horizon: float) -> np.ndarray:
    mass = pool.mass.min()
    return np.array(
        [
            stability_bound(kappa=kappa, rate=rate, mass=mass, samples=n, horizon=horizon) if rate > 0 else np.inf
            for n, kappa, rate in zip(sizes, kappas, rates, strict=True)
        ]
    )
