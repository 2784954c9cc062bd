"""What a worker does with its shard of the samples: it holds it, and answers with sums over it.

A shard travels once, or is built where it is used; then tasks name it. A worker that does not hold it, since it was
started later or took over from one that died, answers `MISSING` and is sent it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.backprop import adjoints_of, forward_pass
from actionopt.errors import InputError
from actionopt.metric.layer_metric import LayerMetric
from actionopt.metric.move import own_trust
from actionopt.problem import Problem, check_problem

MISSING = "this worker does not hold the shard"
_HELD: dict[str, Problem] = {}
_METRICS: dict[str, tuple[tuple[bytes, bool], LayerMetric]] = {}  # the last one of each shard


@dataclass(frozen=True)
class Task:
    """One question to a shard.

    Attributes
    ----------
    token : str
        Name of the shard.
    source : Problem, callable that returns one, or None
        The shard itself, where it is sent along.
    question : str
        A key of `ANSWERS`.
    arguments : tuple
    """

    token: str
    source: Any
    question: str
    arguments: tuple[Any, ...]

    def __call__(self) -> Any:
        if self.source is not None:
            _HELD[self.token] = self.source if isinstance(self.source, Problem) else _built(self.source)
        if self.question == "forget":
            _HELD.pop(self.token, None)
            _METRICS.pop(self.token, None)
            return None
        if self.token not in _HELD:
            return MISSING
        return ANSWERS[self.question](self.token, *self.arguments)


def answer(task: Task) -> Any:
    """Answer a task, as executors call it."""
    return task()


def _built(source: Callable[[], Problem]) -> Problem:
    problem = source()
    check_problem("a shard", problem)
    return problem


def _metric(token: str, w: np.ndarray, joint: bool) -> LayerMetric:
    """Return the metric of a shard, that of the last question where it is the same."""
    key = (w.tobytes(), joint)
    known = _METRICS.get(token)
    if known is None or known[0] != key:
        known = key, LayerMetric(_HELD[token], w, joint=joint)
        _METRICS[token] = known
    return known[1]


def describe(token: str) -> tuple[Problem, int]:
    """Return the problem on one sample, which tells the network, and the number of samples."""
    problem = _HELD[token]
    return problem.take([0]), problem.samples


def energy(token: str, w: np.ndarray) -> float:
    """Return the mean loss, without decay."""
    problem = _HELD[token]
    return float(problem.energy(w)) - 0.5 * problem.weight_decay * float(w @ w)


def gradient(token: str, w: np.ndarray) -> np.ndarray:
    """Return the gradient of the mean loss, without decay."""
    problem = _HELD[token]
    with np.errstate(over="ignore", invalid="ignore"):
        found = adjoints_of(problem, forward_pass(problem, w)).gradient
    return found - problem.weight_decay * w


def product(token: str, w: np.ndarray, joint: bool, v: np.ndarray) -> np.ndarray:
    """Return `K^T K v`, K the rows over the shard's own mean."""
    out = np.zeros_like(v)
    for block in _metric(token, w, joint).blocks:
        if block.rank:
            cut = block.weights
            out[cut] = block.root * block.pull(block.push(block.root * v[cut]))
    return out


def normals(token: str, w: np.ndarray, joint: bool) -> list[tuple[slice, np.ndarray]]:
    """Return `D^{-1/2} K^T K D^{-1/2}` of every block that has rows."""
    return [(block.weights, block.normal()) for block in _metric(token, w, joint).blocks if block.rank]


def blocks(token: str, w: np.ndarray, joint: bool) -> list[slice]:
    """Return where the blocks with rows lie."""
    return [block.weights for block in _metric(token, w, joint).blocks if block.rank]


def change(token: str, w: np.ndarray, joint: bool, x: np.ndarray) -> float:
    """Return `|J x|^2` over the shard's own mean."""
    return _metric(token, w, joint).change(x)


def trust(token: str, w: np.ndarray, joint: bool) -> float:
    """Return the shard's share of the bound that a step takes by itself."""
    metric = _metric(token, w, joint)
    return float(own_trust(metric.problem, metric.states))


def samples(token: str, which: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Return data and targets of some samples."""
    taken = _HELD[token].take(which).network
    return taken.data, taken.targets


ANSWERS: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (describe, energy, gradient, product, normals, blocks, change, trust, samples)
}


def joined(parts: list[Any]) -> Any:
    """Join arrays of samples; what holds several, as targets with their weights may, piece by piece."""
    if not all(isinstance(part, np.ndarray) for part in parts):
        raise InputError("samples of this problem cannot be gathered from shards")
    return np.concatenate(parts)
