"""Work that would not fit into memory is refused before anything is allocated."""

from __future__ import annotations

import os
from functools import cache

from actionopt.errors import InputError

SHARE = 0.8  # of the machine's memory that one array may take


def check_memory(what: str, numbers: float, instead: str) -> None:
    """Refuse an array of so many float64 numbers that the machine cannot hold.

    Parameters
    ----------
    what : str
        What the array is.
    numbers : float
        How many entries it has.
    instead : str
        What to use in its place.

    Raises
    ------
    InputError
        Saying how much it would take and what to use instead.
    """
    needed = 8.0 * float(numbers)
    if needed > SHARE * total_memory():
        raise InputError(
            f"{what} would take {said_size(needed)} of memory, this machine has {said_size(total_memory())}: {instead}"
        )


@cache
def total_memory() -> float:
    """Return the machine's memory in bytes; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * float(os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def said_size(size: float) -> str:
    """Say a number of bytes with three digits and a unit."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000.0:
            return f"{size:.3g} {unit}"
        size /= 1000.0
    return f"{size:.3g} PB"
