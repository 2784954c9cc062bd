"""The gate for numbers that come from outside: real, whole in every entry, in float64."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from actionopt.errors import InputError

MISSING = "fill them in or leave those samples out"


def real_array(what: str, values: Any, expected: str = "numbers") -> np.ndarray:
    """Return `values` as a float64 array of its own shape; what NumPy would convert by dropping a part is refused.

    NumPy turns a masked array into the numbers behind its mask, a complex number into its real part, a date into a
    count of days and a string of digits into a number, each without a word.

    Parameters
    ----------
    what : str
        What the values are, for the message.
    values : anything
        Infinite and NaN entries are let through: whether they mean something is the caller's matter.
    expected : str
        What would have been right.

    Raises
    ------
    InputError
        Naming what was expected and what came.
    """
    parts = values if isinstance(values, (list, tuple)) else (values,)
    masked = sum(int(np.sum(np.ma.getmask(part))) for part in parts if isinstance(part, np.ma.MaskedArray))
    if masked:
        raise InputError(f"{what} must be {expected}, got {masked} masked entries: {MISSING}")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # rows of different lengths
        raise InputError(f"{what} must be {expected}, got {type(values).__name__}: {error}") from None
    if array.dtype.kind in "biuf":
        return np.asarray(array, dtype=float)
    if array.dtype.kind != "O":
        came = repr(values) if isinstance(values, (str, bytes)) else f"{_kind(array)} ({array.dtype})"
        raise InputError(f"{what} must be {expected}, got {came}")
    return _from_objects(what, array, expected)


def real_number(value: Any) -> float:
    """Return a real number as a float; NaN for everything else, and for whole numbers that no float holds."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else np.nan
    except OverflowError:
        return np.nan


def _from_objects(what: str, array: np.ndarray, expected: str) -> np.ndarray:
    """Convert entry by entry what NumPy knows no type for: numbers of other libraries, and what only looks like one."""
    for entry in array.flat:
        if isinstance(entry, (str, bytes)) or np.iscomplexobj(entry):
            raise InputError(f"{what} must be {expected}, got {entry!r} of type {type(entry).__name__}")
        if entry is None or str(entry) in ("<NA>", "NaT"):
            raise InputError(f"{what} must be {expected}, got missing values ({entry}): {MISSING}")
    try:
        return np.asarray(array, dtype=float)
    except OverflowError:
        raise InputError(f"{what} must be {expected}, got a whole number beyond the range of float64") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be {expected}, got {array.flat[0]!r}: {error}") from None


def _kind(array: np.ndarray) -> str:
    names = {"c": "complex numbers", "M": "dates", "m": "spans of time", "V": "records", "U": "strings", "S": "bytes"}
    return names.get(array.dtype.kind, "other values")
