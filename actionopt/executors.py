"""Running many like pieces of work: one after the other, or on any executor there is.

An executor is what has `submit`: those of `concurrent.futures`, `mpi4py.futures.MPIPoolExecutor`, and the `Client` of
`dask.distributed`, whose workers may be threads, processes or a cluster.
"""

from __future__ import annotations

import concurrent.futures
import pickle
from collections.abc import Callable, Iterator, Sequence
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
    if not callable(getattr(executor, "submit", None)):
        known = "as those of concurrent.futures and dask.distributed's Client have"
        raise InputError(f"executor must have a method submit, {known}; got {executor!r}")
    is_dask = type(executor).__module__.partition(".")[0] == "distributed"
    if not is_dask and not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        _check_sent(function, items)
    options = {"pure": False} if is_dask else {}
    futures = {_submitted(executor, function, item, options): index for index, item in enumerate(items)}
    try:
        for future in _as_completed(futures, is_dask):
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


def _as_completed(futures: Any, is_dask: bool) -> Iterator[Any]:
    if is_dask:
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
