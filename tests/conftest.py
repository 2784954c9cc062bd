"""What every test directory uses."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import settings

# one process, a shared machine: no wall-clock deadline decides a test, and every run draws the same examples
settings.register_profile("actionopt", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("fresh", deadline=None, derandomize=False, max_examples=400)  # make test-random
settings.load_profile("fresh" if os.environ.get("ACTIONOPT_RANDOM") else "actionopt")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator seeded the same way for every test."""
    return np.random.default_rng(20260303)
