"""Where a system came from: one that a problem file built goes to another process as the file and its options.

Formulas are functions of the file, which no pickle holds; the other process builds them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """The file and the options that built a system, and what it was then.

    Attributes
    ----------
    build : callable
        `build(path, options)` makes it again.
    path : str
        Absolute.
    options : dict
    built : dict
        The system's attributes at that time.
    """

    build: Callable[[str, dict[str, Any]], Any]
    path: str
    options: Mapping[str, Any]
    built: Mapping[str, Any]

    def still_describes(self, system: object) -> bool:
        """Whether no attribute was given another value since, as `take` does."""
        now = vars(system)
        return all(now.get(name) is value for name, value in self.built.items())


class Rebuilt:
    """A base of systems that pickle as the problem file they were built from, where there is one."""

    def __reduce__(self) -> Any:
        origin = vars(self).get("_origin")
        if origin is None or not origin.still_describes(self):
            state = {name: value for name, value in vars(self).items() if name != "_origin"}
            return _bare, (type(self),), state
        return origin.build, (origin.path, dict(origin.options))


def _bare(kind: type) -> Any:
    return object.__new__(kind)


def remember(system: object, build: Callable[[str, dict[str, Any]], Any], path: str, options: dict[str, Any]) -> None:
    """Note that `build(path, options)` made this system; `build` is a function of a module."""
    vars(system)["_origin"] = Origin(build, path, dict(options), dict(vars(system)))
