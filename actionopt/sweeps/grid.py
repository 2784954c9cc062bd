"""What a sweep runs: every combination of options, with every seed."""

from __future__ import annotations

import hashlib
import json
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from actionopt.errors import InputError
from actionopt.plain import plain


@dataclass(frozen=True)
class Case:
    """One run of a sweep.

    Attributes
    ----------
    options : dict
        For the problem's `build`.
    seed : int
    """

    options: dict[str, Any]
    seed: int

    @property
    def key(self) -> str:
        """A name for the case's file, the same in every process and every run."""
        text = json.dumps([plain(self.options), self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def cases_of(options: Mapping[str, Any], seeds: int | Sequence[int]) -> list[Case]:
    """Lay out the grid: options in their order, the last fastest, and each with all seeds.

    Parameters
    ----------
    options : mapping
        A list, tuple or range of values an option; anything else is one value.
    seeds : int or sequence of int
        How many, from 0 on, or which.

    Raises
    ------
    InputError
        If an option has no values, or a seed is none.
    """
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise InputError(f"options must be a mapping {{name: values}}, got {options!r}")
    axes = {name: list(v) if isinstance(v, (list, tuple, range)) else [v] for name, v in options.items()}
    for name, values in axes.items():
        if not values:
            raise InputError(f"option {name!r} has no values")
    numbered = list(range(seeds)) if isinstance(seeds, numbers.Integral) and not isinstance(seeds, bool) else seeds
    if not isinstance(numbered, Sequence) or isinstance(numbered, str) or not numbered:
        raise InputError(f"seeds must be how many, at least 1, or a list of whole numbers, got {seeds!r}")
    for seed in numbered:
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
            raise InputError(f"seeds must be whole numbers >= 0, got {seed!r}")
    found = [
        Case(dict(zip(axes, chosen, strict=True)), int(seed)) for chosen in product(*axes.values()) for seed in numbered
    ]
    if len({case.key for case in found}) < len(found):
        raise InputError("the sweep holds the same options and seed twice")
    return found
