"""Running many like pieces of work: one after the other, or on any executor there is.

An executor is what has `submit`: those of `concurrent.futures`, `mpi4py.futures.MPIPoolExecutor`, and the `Client` of
`dask.distributed`, whose workers may be threads, processes or a cluster.
"""

from __future__ import annotations

import concurrent.futures
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from actionopt.errors import InputError, SolverError

T = TypeVar("T")
R = TypeVar("R")


def run_all(function: Callable[[T], R], items: Sequence[T], executor: Any = None) -> Iterator[tuple[int, R]]:
    """Yield `(index, function(item))` as they are finished.

    Raises
    ------
    InputError
        If the executor has no `submit`, or it cannot send the function to its workers.
    SolverError
        If a worker died, and its executor does not start another.
    """
    if executor is None:
        yield from ((index, function(item)) for index, item in enumerate(items))
        return
    check_executor(executor)
    if not is_dask(executor) and not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        _check_sent(function, items)
    options = {"pure": False} if is_dask(executor) else {}
    futures = {_submitted(executor, function, item, options): index for index, item in enumerate(items)}
    try:
        for future in _as_completed(futures, is_dask(executor)):
            yield futures[future], _result(future)
    finally:
        for future in futures:
            future.cancel()


def run_in_order(
    function: Callable[[T], R], items: Sequence[T], executor: Any = None, tick: Callable[[], Any] = lambda: None
) -> list[R]:
    """Return `function(item)` of all items in their order; `tick` is called as each is finished.

    Raises
    ------
    InputError, SolverError
        As `run_all`.
    """
    found: dict[int, R] = {}
    for index, value in run_all(function, items, executor):
        found[index] = value
        tick()
    return [found[index] for index in range(len(items))]


class Pinned:
    """Executors whose tasks have a number each, and go to the same worker whenever they can.

    Parameters
    ----------
    executor : optional
        As `run_all` takes it, or a sequence of executors, task k to number k modulo how many there are. Of dask's
        `Client` task k goes to worker k likewise; to another where that one is gone.

    Raises
    ------
    InputError
        If one of them is no executor.
    """

    def __init__(self, executor: Any = None) -> None:
        self._executors = list(executor) if isinstance(executor, (list, tuple)) else [executor]
        for one in self._executors:
            if one is not None:
                check_executor(one)

    def run(self, function: Callable[[T], R], tasks: Mapping[int, T]) -> dict[int, R]:
        """Return what every task gives; all are under way together.

        Raises
        ------
        InputError, SolverError
            As `run_all`.
        """
        if self._executors == [None]:
            return {k: function(task) for k, task in tasks.items()}
        futures = {k: self._submitted(function, k, task) for k, task in tasks.items()}
        return {k: _result(future) for k, future in futures.items()}

    def _submitted(self, function: Any, k: int, task: Any) -> Any:
        executor = self._executors[k % len(self._executors)]
        options: dict[str, Any] = {}
        if is_dask(executor):
            workers = sorted(executor.scheduler_info()["workers"])
            chosen = {"workers": [workers[k % len(workers)]], "allow_other_workers": True} if workers else {}
            options = {"pure": False, **chosen}
        return _submitted(executor, function, task, options)


def check_executor(executor: Any) -> None:
    """Raise InputError unless an executor has a method submit."""
    if not callable(getattr(executor, "submit", None)):
        known = "as those of concurrent.futures and dask.distributed's Client have"
        raise InputError(f"executor must have a method submit, {known}; got {executor!r}")


def is_dask(executor: Any) -> bool:
    """Whether an executor is a client of dask."""
    return type(executor).__module__.partition(".")[0] == "distributed"


def _check_sent(function: Any, items: Sequence[Any]) -> None:
    try:
        pickle.dumps((function, items[0] if items else None))
    except Exception as error:  # pickle raises PicklingError, AttributeError and TypeError
        raise _not_sent(error) from None


def _not_sent(error: Exception) -> InputError:
    return InputError(
        f"the executor cannot send this to another process: {' '.join(str(error).split())}; functions must stand at "
        "the top of a module"
    )


def _submitted(executor: Any, function: Any, item: Any, options: dict[str, Any]) -> Any:
    try:
        return executor.submit(function, item, **options)
    except concurrent.futures.BrokenExecutor as error:
        raise _died(error) from error
    except (TypeError, pickle.PicklingError) as error:  # as dask has it
        raise _not_sent(error) from None


def _as_completed(futures: Any, of_dask: bool) -> Iterator[Any]:
    if of_dask:
        import distributed

        library: Any = distributed
        done: Iterator[Any] = iter(library.as_completed(list(futures)))
        return done
    return concurrent.futures.as_completed(futures)


def _result(future: Any) -> Any:
    try:
        return future.result()
    except concurrent.futures.BrokenExecutor as error:
        raise _died(error) from error
    except concurrent.futures.CancelledError as error:
        raise SolverError("a piece of work was cancelled") from error
    except pickle.PicklingError as error:
        raise _not_sent(error) from None
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            raise _died(error) from error
        raise


def _died(error: Exception) -> SolverError:
    return SolverError(f"a worker died ({' '.join(str(error).split())}); what was finished is kept: run it again")
