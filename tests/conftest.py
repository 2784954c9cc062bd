"""What every test directory uses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

# one process, a shared machine: no wall-clock deadline decides a test, and every run draws the same examples
settings.register_profile("actionopt", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("actionopt")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator seeded the same way for every test."""
    return np.random.default_rng(20260303)
