"""Problems and runs that workers in other processes import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

import actionopt as ao


def build(width: int = 2, mass: float = 1.0, activation: str = "tanh") -> ao.Problem:
    x = np.linspace(-1.0, 1.0, 9)
    layers = [ao.Dense(1, width, activation), ao.Dense(width, 1)]
    return ao.Problem(layers, x, np.sin(3.0 * x), ao.SquaredError(), mass=mass)


def descend(problem: ao.Problem, seed: int) -> dict[str, Any]:
    w = problem.initial_weights(seed)
    for _ in range(3):
        w = ao.step(problem, w, 0.5)
    return {"energy": problem.energy(w), "size": problem.size, "good": problem.energy(w) < 0.1, "word": "fine"}


def sometimes(problem: ao.Problem, seed: int) -> dict[str, Any]:
    if seed == 1:
        raise ValueError("seed one\nis unlucky")
    return {"energy": problem.energy(problem.initial_weights(seed))}


def slowly(problem: ao.Problem, seed: int) -> dict[str, Any]:
    time.sleep(0.05)
    return descend(problem, seed)


def dying_once(problem: ao.Problem, seed: int) -> dict[str, Any]:
    """Kill the worker the first time that seed 2 is run."""
    mark = Path(os.environ["ACTIONOPT_TEST_MARK"])
    if seed == 2 and not mark.exists():
        mark.write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return descend(problem, seed)
