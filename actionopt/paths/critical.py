"""Critical points of the drift: found by Newton's method, told apart by their eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.paths.system import System

ITERATIONS = 30
EXACT = 1e-12  # drift at a critical point, relative to that around it


@dataclass(frozen=True)
class CriticalPoint:
    """A zero of the drift.

    Attributes
    ----------
    point : array (n,)
    eigenvalues : array (n,)
        Of db/dx there, by falling real part.
    """

    point: np.ndarray
    eigenvalues: np.ndarray

    @property
    def unstable(self) -> int:
        """Number of unstable directions."""
        return int((self.eigenvalues.real > 0).sum())

    @property
    def kind(self) -> str:
        """ "attractor", "saddle" or "repeller"."""
        if self.unstable == 0:
            return "attractor"
        return "repeller" if self.unstable == len(self.eigenvalues) else "saddle"


def find_zero(system: System, guess: np.ndarray, reach: float) -> np.ndarray | None:
    """Return the zero of the drift that Newton's method finds within `reach` of a guess, None where there is none."""
    z = guess.copy()
    drift = system.drift(z)
    for _ in range(ITERATIONS):
        jacobian = system.jacobian(z)
        if not (np.isfinite(drift).all() and np.isfinite(jacobian).all()):
            return None
        step = np.linalg.lstsq(jacobian, -drift, rcond=1e-12)[0]
        size = float(np.linalg.norm(step))
        if size <= EXACT * (np.linalg.norm(z) + reach):
            return z + step
        step *= min(1.0, 0.5 * reach / size)
        before = float(np.linalg.norm(drift))
        for _ in range(8):
            new = system.drift(z + step)
            if np.linalg.norm(new) < before:
                break
            step = 0.5 * step
        else:
            return None
        z, drift = z + step, new
        if np.linalg.norm(z - guess) > reach:
            return None
    return None


def describe(system: System, z: np.ndarray) -> CriticalPoint:
    """Return a critical point with the eigenvalues of the drift there."""
    values = np.linalg.eigvals(system.jacobian(z))
    return CriticalPoint(system.outward(z), values[np.argsort(-values.real)])


def at_rest(system: System, z: np.ndarray, reach: float) -> np.ndarray | None:
    """Return the critical point at z, None where z is none: Newton's method moves it by less than 1e-4 of `reach`."""
    found = find_zero(system, z, reach)
    return found if found is not None and np.linalg.norm(found - z) <= 1e-4 * reach else None
