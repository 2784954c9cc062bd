"""Watching a run of training, whichever solver does it: history, progress, callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from actionopt.constrained.energy import Energy
from actionopt.constrained.history import Watcher
from actionopt.constrained.stages import why_no_chain
from actionopt.constrained.task import TrainTask
from actionopt.newton.point import Point
from actionopt.progress import progress_bar


@contextmanager
def watching(task: TrainTask, scale: float = 1.0) -> Iterator[Watcher]:
    """Yield what writes the history of a run down, shows it, and ends it where the task says so."""
    limit = np.inf if task.time_limit is None else task.time_limit
    with progress_bar(None, f"train {task.problem.name}", task.progress) as tick:
        yield Watcher(scale, task.callback, limit, tick)


class Iterates:
    """Shows a watcher the weights that a solver of CasADi's has reached; energy and gradient are the problem's there.

    Attributes
    ----------
    status : str or None
        What the watcher ended the run with.
    error : BaseException or None
        What the callback raised, for whoever called the solver: CasADi would report arguments of the wrong type.
    """

    def __init__(self, task: TrainTask, watcher: Watcher) -> None:
        self.watcher = watcher
        self.at_weights = _energy(task)
        self.status: str | None = None
        self.error: BaseException | None = None
        self.last = np.full(task.problem.size, np.nan)

    def __call__(self, w: np.ndarray) -> bool:
        """Note the weights `(n,)` where they are new; whether to end the run."""
        if not np.array_equal(w, self.last):
            self.last = w.copy()
            try:
                with np.errstate(all="ignore"):
                    self.status = self.watcher(0, self.at_weights(self.last))
            except BaseException as error:  # whatever a callback raises
                self.error = error
        return self.status is not None or self.error is not None

    def raise_error(self) -> None:
        """Raise what the callback raised; Ctrl-C inside it ends the run instead."""
        if isinstance(self.error, KeyboardInterrupt):
            self.status = "interrupted"
        elif self.error is not None:
            raise self.error


class _ByStages:
    """E and its gradient at the weights of a chain with readings, which is faster by stages."""

    def __init__(self, task: TrainTask, w: np.ndarray) -> None:
        chain = task.by_stages.chain
        self.x, self.at = w, chain.at(w, chain.simulate(w))

    @property
    def value(self) -> float:
        return self.at.energy

    @property
    def gradient(self) -> np.ndarray:
        return self.at.slopes[0] + self.at.pull(self.at.adjoints(np.zeros(0)))[0]

    def product(self, direction: np.ndarray) -> np.ndarray:
        raise NotImplementedError("the watcher asks for none")


def _energy(task: TrainTask) -> Callable[[np.ndarray], Point]:
    if task.reads and not why_no_chain(task.problem):
        return lambda w: _ByStages(task, w)
    return Energy(task.problem)
