"""Results as tables and as labelled arrays: CSV, pandas, xarray.

A result says what its columns are, all as long as each other, and its variables with the names of their axes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.files import replacing

Columns = dict[str, np.ndarray]
Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]


class Exported:
    """A base of results that become tables and labelled arrays."""

    def _columns(self) -> Columns:
        """Return the columns of the table, all of one length."""
        raise NotImplementedError

    def _variables(self) -> Variables:
        """Return the arrays with the names of their axes; one that is called as its only axis labels it."""
        raise NotImplementedError

    def _facts(self) -> dict[str, Any]:
        """Return numbers and words that belong to the whole."""
        raise NotImplementedError

    def to_csv(self) -> str:
        """Return the table as comma-separated text, numbers in all their digits."""
        columns = self._columns()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        return text.getvalue()

    def to_pandas(self) -> Any:
        """Return the table as a pandas DataFrame.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        return needed("pandas", "to_pandas").DataFrame(self._columns())

    def to_xarray(self) -> Any:
        """Return all arrays as an xarray Dataset, numbers and words as its attributes.

        Raises
        ------
        InputError
            If xarray is not installed.
        """
        library, variables = needed("xarray", "to_xarray"), self._variables()
        coords = {name: variables.pop(name) for name, (axes, _) in list(variables.items()) if axes == (name,)}
        facts = {name: _attribute(value) for name, value in self._facts().items() if value is not None}
        return library.Dataset(variables, coords=coords, attrs=facts)


def write_csv(result: Exported, path: str | Path) -> Path:
    """Write a result's table as CSV, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(result.to_csv(), encoding="utf-8")
    return Path(path)


def is_csv(path: str | Path) -> bool:
    """Whether a result is to be saved as its table; everything but the table is in a `.npz` alone."""
    return Path(path).suffix == ".csv"


def needed(library: str, method: str) -> Any:
    """Import a library that an export needs.

    Raises
    ------
    InputError
        If it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(library)
    except ImportError:
        raise InputError(f"{method} needs {library}: pip install '.[tables]', or pip install {library}") from None


def features(name: str, arrays: Sequence[np.ndarray]) -> Variables:
    """Return arrays `(B, d_k)`, one a node, as variables `name_1`, `name_2`, ..."""
    return {f"{name}_{k}": (("sample", f"feature_{k}"), array) for k, array in enumerate(arrays, start=1)}


def by_entry(**named: Sequence[np.ndarray]) -> Columns:
    """Return lists of arrays `(B, d_k)`, one a node, as a long table: a row an entry, a column a list."""
    shapes = [array.shape for array in next(iter(named.values()))]
    module = [np.full(shape, k) for k, shape in enumerate(shapes, start=1)]
    sample, feature = (
        [np.indices(shape)[axis] if len(shape) == 2 else np.zeros(shape, int) for shape in shapes] for axis in (0, 1)
    )
    lists = {"module": module, "sample": sample, "feature": feature, **named}
    return {
        name: np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.zeros(0) for name, arrays in lists.items()
    }


def _attribute(value: Any) -> Any:
    """Return what a NetCDF file can hold as well: numbers and words."""
    return int(value) if isinstance(value, (bool, np.bool_)) else value
