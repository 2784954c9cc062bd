"""The second variation of an action at a stationary path: its lowest eigenvalue says whether the path is a minimum.

Eigenvalues are those of the Hessian H of S_h against the kinetic part M of it, `H x = lambda M x` with
`M = Q^T W l_vv Q`: numbers without unit, close to one where nothing but inertia counts, zero where a minimum turns into
a saddle **[ours: the norm]**. For `l = (v^2 - omega^2 w^2)/2` between fixed ends the lowest is
`1 - (omega T / pi)^2`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded, eigh_tridiagonal

from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.discrete import ActionPoint
from actionopt.action.newton.assembled import AssembledHessian
from actionopt.action.newton.time_laplacian import TimeLaplacian

ROUNDING = 1e-10  # the first shift tried, in units of the kinetic part
CLEAR = 1e-6  # an eigenvalue within this of zero is a flat direction: what is left of the residual decides its sign
ITERATIONS = 60

Operator = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class LowestMode:
    """The lowest eigenvalue of the second variation, and its direction `(K, n)`, zero where X is fixed."""

    value: float
    direction: np.ndarray

    @property
    def is_minimum(self) -> bool:
        """Whether no direction lowers the action to second order; flat ones may be there."""
        return bool(self.value >= -CLEAR)


def lowest_mode(point: ActionPoint) -> LowestMode | None:
    """Return the lowest mode at a path; None where the kinetic part is not positive definite.

    With few coordinates H is assembled, and Lanczos' method runs on the inverse of `H + s M`, with the least s for
    which that has a Cholesky factor; with many it runs on products with H, preconditioned by the time Laplacian.
    """
    density = point.action.density
    with np.errstate(all="ignore"):
        try:
            if isinstance(density, LagrangianDensity) and density.has_hessian:
                return _assembled(point)
            return _matrix_free(point)
        except (LinAlgError, np.linalg.LinAlgError):
            return None


def _assembled(point: ActionPoint) -> LowestMode | None:
    action, n = point.action, point.action.density.size
    assembly = AssembledHessian(action)
    hessians = point.expansion.hessian  # type: ignore[attr-defined]
    kinetic = np.zeros_like(hessians)
    kinetic[:, n:, n:] = hessians[:, n:, n:]
    if action.free[0].any():  # nothing holds a path with a free start: measure how far it moves as well
        length = action.scheme.times[-1] - action.scheme.times[0]
        kinetic[:, :n, :n] = hessians[:, n:, n:] / length**2
    whole = assembly.banded(hessians)
    if point.end is not None:
        assembly.add_last(whole, point.end[2])
    inertia = assembly.banded(kinetic)
    cholesky_banded(inertia, lower=True)
    shift, factor = 0.0, None
    while factor is None:
        try:
            factor = cholesky_banded(whole + shift * inertia, lower=True)
        except LinAlgError:
            shift = 4.0 * shift or ROUNDING
            if shift > 1e12:
                return None
    if shift > ROUNDING:
        shift, factor = _tightened(whole, inertia, shift, factor)
    free = action.free

    def multiply(x: np.ndarray) -> np.ndarray:
        return _banded_product(inertia, x.ravel()).reshape(x.shape) * free

    def invert(y: np.ndarray) -> np.ndarray:
        return np.asarray(cho_solve_banded((factor, True), y.ravel()).reshape(y.shape)) * free

    # eigenvalues 1/(lambda + s) of (H + s M)^{-1} M, the largest of which is the lowest lambda
    largest, direction = _lanczos(multiply, invert, free, largest=True)
    return LowestMode(float(1.0 / largest - shift), direction)


def _tightened(whole: np.ndarray, inertia: np.ndarray, shift: float, factor: np.ndarray) -> tuple[float, np.ndarray]:
    """Bring the shift within a tenth of the least that works: Lanczos' method then takes few steps."""
    low = shift / 4.0
    while shift > 1.1 * low:
        middle = np.sqrt(low * shift)
        try:
            factor, shift = cholesky_banded(whole + middle * inertia, lower=True), middle
        except LinAlgError:
            low = middle
    return shift, factor


def _matrix_free(point: ActionPoint) -> LowestMode:
    laplacian = TimeLaplacian(point.action.task)
    value, direction = _lanczos(
        point.product, lambda y: laplacian.solve(point.expansion, y), point.action.free, largest=False
    )
    return LowestMode(value, direction)


def _lanczos(multiply: Operator, invert: Operator, free: np.ndarray, *, largest: bool) -> tuple[float, np.ndarray]:
    """Extreme eigenvalue of `invert . multiply`, both symmetric and `invert` positive definite, with its direction.

    Lanczos' method in the inner product of `invert`, orthogonalised in full. The start is random, so that no symmetry
    of the path hides a mode.
    """
    rng = np.random.default_rng(0)
    dual = rng.standard_normal(free.shape) * free
    primal = invert(dual)
    norm = np.sqrt(np.vdot(dual, primal))
    duals, primals = [dual / norm], [primal / norm]
    diagonal: list[float] = []
    beside: list[float] = []
    value, vector, settled = np.inf, np.ones(1), False
    for _ in range(min(ITERATIONS, int(free.sum()))):
        moved = multiply(primals[-1])
        diagonal.append(float(np.vdot(primals[-1], moved)))
        for _ in range(2):
            for d, p in zip(duals, primals, strict=True):
                moved = moved - np.vdot(p, moved) * d
        values, vectors = eigh_tridiagonal(np.array(diagonal), np.array(beside))
        which = -1 if largest else 0
        value, vector = float(values[which]), vectors[:, which]
        primal = invert(moved)
        square = float(np.vdot(moved, primal))
        norm = np.sqrt(max(square, 0.0))
        settled = norm * abs(vector[-1]) <= 1e-6 * max(abs(value), 1e-3) or norm <= 1e-14 * abs(diagonal[0])
        if settled:
            break
        beside.append(norm)
        duals.append(moved / norm)
        primals.append(primal / norm)
    if not settled and len(diagonal) < int(free.sum()) and value > -CLEAR:
        raise LinAlgError("the lowest eigenvalue did not settle")
    direction = sum(c * p for c, p in zip(vector, primals, strict=False))
    return value, np.asarray(direction)


def _banded_product(lower: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Multiply a symmetric matrix in lower banded storage with a vector."""
    out = lower[0] * x
    for k in range(1, len(lower)):
        band = lower[k, :-k]
        out[:-k] += band * x[k:]
        out[k:] += band * x[:-k]
    return np.asarray(out)
