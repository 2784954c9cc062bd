"""What a problem and a Lagrangian have in common: a system that has an action."""

from __future__ import annotations

from typing import Any, Protocol


def names_of(what: Any) -> dict[str, Any]:
    """Return the names of a system's coordinates as part of a result's stats, empty where it has none."""
    names = getattr(what, "coordinates", None)
    return {} if names is None else {"labels": list(names)}


class System(Protocol):
    """A system whose paths have an action; asked for its energy, where it has one, in one way.

    Attributes
    ----------
    name : str
    size : int
        Number of weights or coordinates n.
    has_energy : bool
    numbers : int
        How many numbers the widest array of an evaluation at one point holds, by which batches are cut.
    """

    name: str
    size: int

    @property
    def has_energy(self) -> bool: ...

    @property
    def numbers(self) -> int: ...

    def energy(self, w: Any) -> Any:
        """Return the energy `(...)` at `w (..., n)`."""
