"""Fields of a result that are computed when one of them is first asked for.

What certifies a flow costs up to as much as the flow. Whoever reads its weights alone does not pay for that; whoever
asks for status, message or distance gets them checked: there is no status before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result", bound="Deferring")


class Deferring:
    """A base of frozen dataclasses; the fields that may be deferred have no default on the class."""

    def deferred(self: Result, compute: Callable[[], Mapping[str, Any]], names: tuple[str, ...]) -> Result:
        """Return a copy whose fields `names` are what `compute()` returns, once one of them is asked for."""
        copy = object.__new__(type(self))
        copy.__dict__.update({name: value for name, value in self.__dict__.items() if name not in names})
        copy.__dict__["_pending"] = (names, compute)
        return copy

    def __getattr__(self, name: str) -> Any:
        """Compute what is missing; called for what ordinary look-up does not find."""
        names, compute = self.__dict__.get("_pending", ((), None))
        if name not in names:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        values = compute()
        self.__dict__.update({each: values[each] for each in names})
        del self.__dict__["_pending"]
        return self.__dict__[name]

    def __getstate__(self) -> dict[str, Any]:
        """Compute what is missing before a copy or a pickle is made."""
        names, _ = self.__dict__.get("_pending", ((), None))
        if names:
            getattr(self, names[0])
        return self.__dict__
