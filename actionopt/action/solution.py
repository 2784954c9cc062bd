"""What an action solver answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actionopt.action.forces import ConstraintForces


@dataclass(frozen=True)
class ActionSolution:
    """What an action solver answers.

    Attributes
    ----------
    points : array (K, n)
        The best X found, fixed entries included.
    status : str
        One word or two: "converged", "iteration limit", "interrupted", ...
    message : str
        What happened and, where it failed, what to try.
    stats : dict
        `iterations`, `build_time` and `solve_time` in seconds; `gradient_norm`, the largest entry of dS_h/dX over the
        free entries; `scale`, the size of the terms that such an entry is a sum of; `residual`, of the first-order
        conditions, relative to that; and what the solver adds.
    """

    points: np.ndarray
    status: str
    message: str
    stats: dict[str, Any] = field(default_factory=dict)
    forces: ConstraintForces | None = None

    @property
    def success(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"
