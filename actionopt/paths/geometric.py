"""The geometric action density: the least action of a direction, whatever the speed.

`L(z, d) = min over tau of tau l(z, d / tau) = |d|_M |b|_M - d . M b` for `l = 1/2 |v - b|^2_M` (Heymann and
Vanden-Eijnden, 2008), with `tau = |d|_M / |b|_M` and the speed `v = d / tau`. As a minimum over tau its derivatives are
those of l at v **[ours]**:

    L_z = tau l_z,   L_d = l_v,
    L_zz = tau l_zz - q q^T / r,  L_zd = l_zv - q s^T / r,  L_dd = l_vv / tau - s s^T / r,
    q = l_z - l_zv v,   s = -l_vv v / tau,   r = v . l_vv v / tau.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.paths.system import System

AT_REST = 1e-13  # drift, relative to the largest on the path, below which the speed is no longer lowered


@dataclass(frozen=True)
class Densities:
    """L and its derivatives at M points: `value (M,)`, `slopes (M, 2n)` in (z, d), `hessian (M, 2n, 2n)` or None."""

    value: np.ndarray
    slopes: np.ndarray
    hessian: np.ndarray | None
    length: np.ndarray
    drift: np.ndarray

    @property
    def gross(self) -> np.ndarray:
        """`|d|_M |b|_M (M,)`, the scale of L: what is left where nothing cancels."""
        return self.length * self.drift


def norms(system: System, z: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `|d|_M` and `|b|_M`, `(...)`, at `z, d (..., n)`."""
    length, drift, _ = _inner(system, z, d)
    return np.sqrt(length), np.sqrt(drift)


def action_density(system: System, z: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return `|d|_M |b|_M - d . M b (...)` at `z, d (..., n)`, NaN where drift or noise is not sound; NumPy alone."""
    return density_and_speed(system, z, d)[0]


def density_and_speed(system: System, z: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the action density and `|b|_M`, `(...)`, at `z, d (..., n)`."""
    length, drift, along = _inner(system, z, d)
    return np.sqrt(length * drift) - along, np.sqrt(drift)


def _inner(system: System, z: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `d . M d`, `b . M b` and `d . M b`, `(...)`."""
    drift = system.drift(z)
    if system.flow.constant:
        return (d * d).sum(axis=-1), (drift * drift).sum(axis=-1), (d * drift).sum(axis=-1)
    with np.errstate(all="ignore"):
        metric = system.metric_at(z)
        pulled = np.einsum("...ij,...j->...i", metric, drift)
        length = np.einsum("...i,...ij,...j->...", d, metric, d)
    return length, (pulled * drift).sum(axis=-1), (pulled * d).sum(axis=-1)


def expand(system: System, z: np.ndarray, d: np.ndarray, hessian: bool = False) -> Densities:
    """Expand L about the points and directions `z, d (M, n)`."""
    n = system.size
    length, drift = norms(system, z, d)
    with np.errstate(all="ignore"):
        floor = AT_REST * np.nanmax(drift, initial=np.finfo(float).tiny)
        tau = length / np.maximum(drift, floor)
        v = d / tau[:, None]
        value, slopes, *rest = system.expand(z, v, hessian)
        scaled = slopes.copy()
        scaled[:, :n] *= tau[:, None]
        dense = _hessian(rest[0], slopes[:, :n], v, tau, n) if rest else None
    return Densities(tau * value, scaled, dense, length, drift)


def _hessian(second: np.ndarray, force: np.ndarray, v: np.ndarray, tau: np.ndarray, n: int) -> np.ndarray:
    """Hessian of L from that of l at v, `(M, 2n, 2n)`."""
    moved = np.einsum("mij,mj->mi", second[:, :, n:], v)
    corner = np.concatenate([force - moved[:, :n], -moved[:, n:] / tau[:, None]], axis=-1)
    curvature = (moved[:, n:] * v).sum(axis=-1) / tau
    out = second.copy()
    out[:, :n, :n] *= tau[:, None, None]
    out[:, n:, n:] /= tau[:, None, None]
    return out - corner[:, :, None] * (corner / curvature[:, None])[:, None, :]
