"""What the examples in docstrings use without introducing it: `ao`, `np`, a small `problem` and weights `w`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import actionopt as ao

# links, so that a wheel has them; tests import them from the root
collect_ignore_glob = ["actionopt/problems/*", "actionopt/plots/*"]
collect_ignore = [] if find_spec("torch") else ["actionopt/interop/torch"]


@pytest.fixture(autouse=True)
def _names(doctest_namespace: dict[str, Any]) -> None:
    corners = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    modules = [ao.Dense(2, 4, "tanh"), ao.Dense(4, 1)]
    problem = ao.Problem(modules, corners, [-1.0, 1.0, 1.0, -1.0], ao.SquaredError(), mass=0.1)
    doctest_namespace.update(ao=ao, np=np, problem=problem, w=problem.initial_weights())
