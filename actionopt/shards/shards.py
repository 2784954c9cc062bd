"""One problem whose samples lie in shards with workers: sums over them are sums of what the workers answer.

With B_i of B samples in shard i, and each worker's mean over its own,

    E = sum_i B_i/B E_i + rho/2 |w|^2,    g = sum_i B_i/B g_i + rho w,    G = D + sum_i B_i/B K_i^T K_i

so that no machine holds more than its shard; what travels is weights, gradients and products, `(n,)` each.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np

from actionopt.errors import InputError, SolverError
from actionopt.executors import Pinned
from actionopt.metric.kinds import kind_of
from actionopt.metric.layer_metric import check_options
from actionopt.metric.move import check_step, move
from actionopt.metric.step import Momentum
from actionopt.network import Group
from actionopt.problem import Problem, check_problem
from actionopt.shards.metric import ShardedMetric
from actionopt.shards.worker import MISSING, Task, answer, joined

Source = Problem | Callable[[], Problem]


class Shards:
    """A problem whose samples lie in shards, each with a worker.

    Parameters
    ----------
    sources : sequence of Problem or callables that return one
        The same network, losses, mass and decay on different samples. A callable is called where its shard is held,
        `functools.partial(build, part)`, so that the samples need not pass through this process.
    executor : optional
        As for `sweep`; or a list of executors, shards to them in turn: single workers (`ProcessPoolExecutor(1)`) then
        hold one shard each. A dask `Client` assigns shards to its workers, and a shard goes to another where one dies.
        In this process where None.

    Attributes
    ----------
    size, samples : int
        Weights, and samples of all shards together.
    counts : list of int
        Samples of each shard.
    mass : array (n,)
    weight_decay : float
    name : str

    Raises
    ------
    InputError
        If there are no shards, or they are not of the same problem.

    Examples
    --------
    >>> parts = ao.Shards.of(problem, 2)
    >>> bool(abs(parts.gradient(w) - problem.gradient(w)).max() < 1e-12)
    True
    """

    def __init__(self, sources: Iterable[Source], *, executor: Any = None) -> None:
        self._sources = list(sources)
        if not self._sources or not all(isinstance(one, Problem) or callable(one) for one in self._sources):
            raise InputError("Shards takes a sequence of problems, or of functions without arguments that return one")
        self._executor = Pinned(executor)
        self._tokens = [uuid.uuid4().hex for _ in self._sources]
        described = self._ask("describe", [()] * len(self._sources))
        self._template: Problem = described[0][0]
        self.counts = [count for _, count in described]
        for number, (problem, _) in enumerate(described):
            _check_alike(self._template, problem, number)
        self.samples = sum(self.counts)
        self.size, self.mass = self._template.size, self._template.mass
        self.weight_decay, self.name = self._template.weight_decay, self._template.name
        self._shares = np.array(self.counts) / self.samples
        self._ends = np.cumsum(self.counts)

    @classmethod
    def of(cls, problem: Problem, count: int, *, executor: Any = None) -> Shards:
        """Cut a problem's samples into `count` shards of about the same size, in their order."""
        check_problem("Shards.of", problem)
        if not 1 <= count <= problem.samples:
            raise InputError(f"count must lie between 1 and the {problem.samples} samples, got {count}")
        cuts = np.linspace(0, problem.samples, count + 1).astype(int)
        return cls([problem.take(slice(a, b)) for a, b in itertools.pairwise(cuts)], executor=executor)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of weights, as a problem has them."""
        return self._template.groups

    def initial_weights(self, seed: int = 0) -> np.ndarray:
        """Draw starting weights `(n,)`, as the problem does."""
        return self._template.initial_weights(seed)

    def check_point(self, w: Any, what: str = "weights") -> np.ndarray:
        """Return `w` as one finite point `(n,)`."""
        return self._template.check_point(w, what)

    def energy(self, w: Any) -> float:
        """Return E(w)."""
        w = self.check_point(w)
        return float(self._mean("energy", w)) + 0.5 * self.weight_decay * float(w @ w)

    def gradient(self, w: Any) -> np.ndarray:
        """Return dE/dw, `(n,)`."""
        w = self.check_point(w)
        return np.asarray(self._mean("gradient", w)) + self.weight_decay * w

    def metric(self, w: Any, *, joint: bool = False, solve: str = "cg", tol: float = 1e-10) -> ShardedMetric:
        """Return the metric at a point.

        Parameters
        ----------
        w : array (n,)
        joint : bool
            One metric over all modules, rather than a block each.
        solve : "cg" or "primal"
            Conjugate gradients, a product by every worker in each iteration, or the blocks `K^T K`, summed from the
            workers and factorised here: `n_a^2` numbers from each, once.
        tol : float
            Bound on the relative error of solutions, in the norm of the mass.
        """
        if solve not in ("cg", "primal"):
            raise InputError(f"solve must be 'cg' or 'primal' where samples lie in shards, got {solve!r}")
        check_options(solve, tol)
        return ShardedMetric(self, self.check_point(w).copy(), bool(joint), solve, float(tol))

    def step(
        self,
        w: Any,
        step_size: float | str,
        *,
        metric: str = "layerwise",
        momentum: float | Momentum | None = None,
        trust: float | None = None,
        solve: str = "cg",
        tol: float = 1e-10,
    ) -> np.ndarray:
        """Take one step, as `ao.step` does on all samples in one place; solve as for `metric`."""
        kind = kind_of(metric)
        memory = momentum if isinstance(momentum, Momentum) else Momentum(0.0 if momentum is None else momentum)
        check_step(step_size, memory.share, trust)
        at = self.metric(w, joint=kind.together, solve=solve, tol=tol)
        if step_size == "model" and trust is None:
            trust = at.own_trust()
        options: dict[str, Any] = {"momentum": memory.share, "previous": memory.direction, "trust": trust}
        taken = move(at, step_size, euclidean=not kind.pulls_back, **options)
        memory.direction = taken.direction
        return taken.weights

    def take(self, samples: Any) -> Problem:
        """Gather some samples, by their numbers over all shards in turn, into a problem here: a batch of `descend`."""
        which = np.arange(self.samples)[samples] if isinstance(samples, slice) else np.asarray(samples)
        which = np.flatnonzero(which) if which.dtype == bool else which
        if which.ndim != 1 or not which.size or which.min() < -self.samples or which.max() >= self.samples:
            raise InputError(f"take needs a slice or a vector of at least one of {self.samples} samples")
        which = which % self.samples
        owner = np.searchsorted(self._ends, which, side="right")
        asked = {k: which[owner == k] - (self._ends[k] - self.counts[k]) for k in np.unique(owner).tolist()}
        found = self._ask("samples", [(asked[k],) if k in asked else None for k in range(len(self.counts))])
        order = np.argsort(np.argsort(owner, kind="stable"), kind="stable")
        parts = [found[k] for k in asked]
        data, targets = (
            [joined(list(arrays))[order] for arrays in zip(*half, strict=True)] for half in zip(*parts, strict=True)
        )
        return self._template.with_samples(data, targets)

    def close(self) -> None:
        """Let the workers forget the shards; executors stay with whoever made them."""
        with contextlib.suppress(SolverError):  # a worker that died has forgotten
            self._ask("forget", [()] * len(self._sources))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()

    def __repr__(self) -> str:
        return f"Shards({self.name!r}: {self.size} weights, {self.samples} samples in {len(self.counts)} shards)"

    def _mean(self, question: str, *arguments: Any) -> Any:
        """Return the mean over all samples of what every shard answers for its own."""
        answers = self._ask(question, [arguments] * len(self._sources))
        return sum(share * one for share, one in zip(self._shares, answers, strict=True))

    def _ask(self, question: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """Ask every shard, None for none; shards that a worker does not hold are sent."""
        tasks = {
            k: Task(self._tokens[k], None, question, given) for k, given in enumerate(arguments) if given is not None
        }
        found = self._executor.run(answer, tasks)
        lost = {k: one for k, one in tasks.items() if isinstance(found[k], str) and found[k] == MISSING}
        if lost:
            again = {k: Task(one.token, self._sources[k], question, one.arguments) for k, one in lost.items()}
            found |= self._executor.run(answer, again)
        return [found.get(k) for k in range(len(arguments))]


def _check_alike(first: Problem, other: Problem, number: int) -> None:
    """Raise InputError unless two shards are of one problem."""
    same = partial(np.array_equal, first.mass)
    labels = [[f"{place.label} {place.of} {place.module!r}" for place in one.network.nodes] for one in (first, other)]
    if labels[0] != labels[1] or not same(other.mass) or first.weight_decay != other.weight_decay:
        raise InputError(
            f"shard {number} is not of the same problem as shard 0: network, mass and weight_decay must be the same"
        )
