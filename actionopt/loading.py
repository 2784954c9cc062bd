"""Problem files: a Python file whose `build(**options)` returns a Problem or a Lagrangian."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from actionopt.errors import InputError, unknown_name
from actionopt.files import is_file
from actionopt.origin import remember

_PREFIX = "actionopt_problem_"
# where the problem files lie that come along: inside the package, and where links are none beside it
SHIPPED = (Path(__file__).parent / "problems", Path(__file__).parents[1] / "problems")


def load_problem(path: str | Path, **options: Any) -> Any:
    """Build the problem that a file defines.

    Parameters
    ----------
    path : str or Path
        A Python file with `build(**options)`, or the name of one that comes along (`locate`).
    **options
        Handed to `build`.

    Returns
    -------
    Problem or Lagrangian
        Pickled, it is the file's path and the options: another process, on the same files, builds it again.

    Raises
    ------
    InputError
        If the file is missing, has no build, does not know an option, or raises (the message shows its line).

    Examples
    --------
    >>> ao.load_problem("xor", width=3)                  # also the path of a file of one's own
    Problem(...)
    """
    path = locate(path)
    file = load_file(path)
    build = getattr(file, "build", None)
    if not callable(build):
        raise InputError(f"{path}: expected a function build(**options) that returns a Problem or a Lagrangian")
    _check_options(path, build, options)
    try:
        with _neighbours(path):
            problem = build(**options)
    except (Exception, SystemExit) as error:
        raise _explained(path, error) from error
    if not (hasattr(problem, "size") and hasattr(problem, "energy")):  # arrays have a size as well
        raise InputError(f"{path}: build() must return a Problem or a Lagrangian, got {type(problem).__name__}")
    if hasattr(problem, "__dict__"):
        _name_coordinates(problem, path, getattr(file, "LABELS", None))
        remember(problem, _rebuild, os.path.abspath(path), options)
    return problem


def _name_coordinates(problem: Any, path: Path, labels: Any) -> None:
    """Give a system the names of its coordinates, LABELS of its file, where they are of its size and it has none."""
    if labels is None or getattr(problem, "coordinates", None) is not None:
        return
    if not isinstance(labels, (list, tuple)) or not all(isinstance(name, str) for name in labels):
        raise InputError(f"{path}: LABELS must be names, one a coordinate, got {labels!r}")
    if len(labels) == problem.size:
        vars(problem)["coordinates"] = tuple(labels)


def locate(path: str | Path) -> Path:
    """Return the problem file that a path or a name means: `xor`, `xor.py` and `problems/xor.py` come with the package.

    A file that is there comes first; where neither is, the path is returned as it is.
    """
    path = Path(path)
    if is_file(path) or path.parent.as_posix() not in (".", "problems"):
        return path
    for folder in SHIPPED:
        shipped = folder / f"{path.name.removesuffix('.py')}.py"
        if is_file(shipped):
            return shipped
    return path


def _rebuild(path: str, options: dict[str, Any]) -> Any:
    return load_problem(path, **options)


def load_file(path: str | Path) -> ModuleType:
    """Import a problem file under a name of its own.

    Raises
    ------
    InputError
        If it is missing, is no Python file or raises.
    """
    path = Path(path)
    if not is_file(path):
        raise InputError(f"no problem file {path}: expected a Python file with a function build(**options)")
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: expected a Python file, with the ending .py")
    module = importlib.util.module_from_spec(spec)
    earlier = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _neighbours(path):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if earlier is not None:
            sys.modules[name] = earlier
        raise _explained(path, error) from error
    return module


def _module_name(path: Path) -> str:
    """Name a problem file's module by its path, so that two files of one stem are two, and any process finds it."""
    return f"{_PREFIX}{path.stem}_{os.fsencode(os.path.abspath(path)).hex()}"


class _ProblemFiles(importlib.abc.MetaPathFinder):
    """Find the module of a problem file by its name, as unpickling an object of one of its classes asks for it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        try:
            file = os.fsdecode(bytes.fromhex(name.rpartition("_")[2]))
        except ValueError:
            return None
        return importlib.util.spec_from_file_location(name, file) if is_file(Path(file)) else None


sys.meta_path.append(_ProblemFiles())


def named_points(path: str | Path) -> dict[str, Any]:
    """Return the POINTS of a problem file, `{name: coordinates}`, empty where it names none.

    Raises
    ------
    InputError
        If the file cannot be loaded, or POINTS is anything else than names with coordinates.
    """
    path = locate(path)
    points = getattr(load_file(path), "POINTS", {})
    if not isinstance(points, dict):
        raise InputError(f"{path}: POINTS must be a dictionary {{name: coordinates}}, got {points!r}")
    for name, coordinates in points.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: the names of POINTS must be strings, got {name!r}")
        if not _are_coordinates(coordinates):
            raise InputError(f"{path}: POINTS[{name!r}] must be numbers, one a coordinate, got {coordinates!r}")
    return dict(points)


def _are_coordinates(values: Any) -> bool:
    try:
        return np.asarray(values, dtype=float).ndim <= 1
    except (TypeError, ValueError):
        return False


@contextmanager
def _neighbours(path: Path) -> Iterator[None]:
    """Let the file import files beside it, as it does when Python runs it; installed packages come first."""
    before = list(sys.path)
    sys.path.append(os.path.abspath(path.parent))
    try:
        yield
    finally:
        sys.path[:] = before


def _check_options(path: Path, build: Callable[..., Any], options: dict[str, Any]) -> None:
    parameters = inspect.signature(build).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in parameters:
                raise unknown_name(f"option of {path}", option, parameters)
    try:
        inspect.signature(build).bind(**options)
    except TypeError as error:
        raise InputError(f"{path}: build() is {error}") from None


def _explained(path: Path, error: BaseException) -> InputError:
    """Name the user's own line: the last one of the traceback, or of what caused it, that lies in the problem file."""
    filename = os.path.abspath(path)  # as Python records it
    line: int | None
    text: str | None
    if isinstance(error, SyntaxError) and error.filename == filename:
        line, text, reason = error.lineno, (error.text or "").strip(), error.msg
    else:
        frames = [
            f for e in _with_causes(error) for f in traceback.extract_tb(e.__traceback__) if f.filename == filename
        ]
        line, text = (frames[-1].lineno, frames[-1].line) if frames else (None, None)
        reason = str(error)
    place = f"{path}, line {line}, `{text}`" if line else f"{path}"
    return InputError(
        f"{place}: {reason}" if isinstance(error, InputError) else f"{place}: {type(error).__name__}: {reason}"
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """List the error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__
