"""A march on disk: kept while it is under way, so that one that was killed goes on from there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.archive import ResultFile
from actionopt.errors import InputError

FILE = ResultFile("actionopt.march", 1, "march", "a run", {"key": str, "stats": dict})
EVERY = 20.0  # seconds of a march between two writes
BUSY = 20.0  # and at least so many times what a write takes


@dataclass
class Reached:
    """How far a march came.

    Attributes
    ----------
    points : array (k, n)
        Whole intervals of it.
    slope : array (n,)
        Velocity at their end, from which the next is guessed.
    stats : dict
    errors : dict of int to array (n,)
    """

    points: np.ndarray
    slope: np.ndarray
    stats: dict[str, Any] = field(default_factory=dict)
    errors: dict[int, np.ndarray] = field(default_factory=dict)


class Checkpoint:
    """Where a march is kept.

    Parameters
    ----------
    path : Path
        A `.npz`.
    key : str
        What is marched, by a digest: the file of another march counts as none.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.due = time.monotonic() + EVERY

    def load(self) -> Reached | None:
        """Return how far the march came, None where there is nothing to go on from."""
        try:
            arrays, facts = FILE.read(self.path)
            if facts["key"] != self.key:
                return None
            steps = arrays["steps"].astype(int).tolist()
            errors = dict(zip(steps, arrays["errors"], strict=True))
            reached = Reached(arrays["points"], arrays["slope"], facts["stats"], errors)
            fits = reached.points.ndim == 2 and reached.slope.shape == reached.points.shape[1:]
            return reached if fits and np.isfinite(reached.points).all() else None
        except (InputError, KeyError, ValueError, TypeError):
            return None

    def keep(self, reached: Reached, *, now: bool = False) -> None:
        """Write how far it came, once in a while or `now`."""
        began = time.monotonic()
        if not now and began < self.due:
            return
        steps = sorted(reached.errors)
        arrays = {
            "points": reached.points,
            "slope": reached.slope,
            "steps": np.array(steps, dtype=float),
            "errors": np.array([reached.errors[k] for k in steps]).reshape(len(steps), len(reached.slope)),
        }
        FILE.write(self.path, arrays, {"key": self.key, "stats": reached.stats})
        ended = time.monotonic()
        self.due = ended + max(EVERY, BUSY * (ended - began))

    def remove(self) -> None:
        """Remove the file of a march that is done with."""
        self.path.unlink(missing_ok=True)
