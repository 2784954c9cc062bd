"""A module whose output is the fixed point of another."""

from __future__ import annotations

import numbers
from typing import Any

import casadi as ca
import numpy as np

from actionopt.errors import InputError, is_name, unknown_name
from actionopt.modules.base import Module
from actionopt.modules.composite import Composite, check_modules
from actionopt.ops import CASADI, INTERVAL, NUMPY, DualOps, Interval, LinearOps, Ops
from actionopt.ops.base import Array
from actionopt.ops.rounded import as_interval, middle, point

METHODS = ("newton", "anderson")
ITERATIONS = 100  # of Newton's method
HALVINGS = 12  # of a step that does not lower the residual
EVALUATIONS = 1000  # of the module by Anderson's method
MEMORY = 5  # of its past steps that Anderson's method combines
BOXES = 20  # tried around a fixed point, to enclose it


class Implicit(Composite):
    """The fixed point of a module: `z = f([z, x], w)` for the input x (a deep equilibrium, an implicit time step).

    Parameters
    ----------
    module : Module
        f; it takes `[z, x]` joined, z first, and gives z: `in_size > out_size`, or equal where there is no x.
    method : "newton" or "anderson"
        Newton's method, with one matrix of z's size a sample; or Anderson acceleration of `z <- f([z, x], w)` (Anderson
        1965; Walker, Ni 2011), which needs values of f alone: for many states, and a map that nearly contracts.
    tol : float
        Bound on the residual of the fixed point, `max |f([z, x], w) - z| <= tol (1 + max |z|)`, for every sample.
    mass : float or array (weight_size,), optional
        Diagonal of this module's part of the metric; the problem's where None.
    name : str, optional
        The name in tables and messages.

    Raises
    ------
    InputError
        If the module's sizes leave no room for z in its input, the method is unknown, or tol is no positive number.

    Notes
    -----
    Found from z = 0, by Newton's method with steps halved until the residual falls; CasADi's `rootfinder` on its side.
    Where there are several fixed points it is the one found; a sample without one is NaN, which every computation
    names. Derivatives are those of the implicit function theorem, `dz = (I - df/dz)^{-1} (df/dx dx + df/dw dw)`, to any
    order.

    Examples
    --------
    >>> layer = ao.Implicit(ao.Dense(5, 2, "tanh"))       # z = tanh(W [z, x] + b), z of 2 and x of 3
    >>> layer.in_size, layer.out_size
    (3, 2)
    """

    tol: float
    method: str
    scalar_graph = False  # CasADi's rootfinder is no function of scalar symbols

    def __init__(
        self,
        module: Module,
        tol: float = 1e-12,
        *,
        method: str = "newton",
        mass: Any = None,
        name: str | None = None,
    ) -> None:
        (module,) = check_modules("Implicit", [module])
        if not 0 < module.out_size <= module.in_size:
            raise InputError(
                f"Implicit needs a module that takes [z, x] and gives z, got {module!r} with {module.in_size} inputs "
                f"and {module.out_size} outputs"
            )
        if isinstance(tol, bool) or not isinstance(tol, numbers.Real) or not 0.0 < tol < 1.0:
            raise InputError(f"Implicit: tol must be a number between 0 and 1, got {tol!r}")
        if not is_name(method, METHODS):
            raise unknown_name("method", method, METHODS)
        self.tol, self.method = float(tol), method
        super().__init__((module,), module.in_size - module.out_size, module.out_size, mass, name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        if isinstance(ops, LinearOps):  # values of tangents that are recorded
            return self.forward(ops.inner, w, z)
        if isinstance(ops, DualOps):
            return self._on_duals(ops, w, z)
        if ops is INTERVAL:
            return self._by_krawczyk(as_interval(w), as_interval(z))
        return self._by_casadi(w, z) if ops is CASADI else self._found(w, z)

    def _step(self, ops: Ops, w: Array, z: Array, x: Array) -> Array:
        """Evaluate `f([z, x], w)`."""
        return self.parts[0].forward(ops, w, ops.concatenate([z, x]) if self.in_size else z)

    def _on_duals(self, ops: DualOps, w: Array, x: Array) -> Array:
        (w_value, _), (x_value, _) = ops.parts(w), ops.parts(x)
        fixed = self.forward(ops.inner, w_value, x_value)
        source = ops.parts(self._step(ops, w, ops.dual(fixed, None), x))[1]
        if source is None:
            return ops.dual(fixed, None)
        values = ops.inner.inner if isinstance(ops.inner, LinearOps) else ops.inner
        transposed = self._transposed(values, w_value, x_value, fixed)
        return ops.dual(fixed, ops.inner.solve(values.transpose_samples(transposed, self.out_size), source))

    def _transposed(self, ops: Ops, w: Array, x: Array, fixed: Array) -> Array:
        """Return `(I - df/dz)^T` at the fixed point, a matrix a sample."""
        inputs = ops.concatenate([fixed, x]) if self.in_size else fixed
        columns = []
        for unit in np.eye(self.out_size, self.parts[0].in_size):
            tangent = ops.repeat_samples(ops.row(unit[None] if ops is NUMPY else unit), inputs)
            columns.append(self.parts[0].jvp(ops, w, inputs, None, tangent)[1])
        return ops.row(np.eye(self.out_size).ravel()) - ops.concatenate(columns)

    def _found(self, w: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self._by_newton(w, x) if self.method == "newton" else self._by_anderson(w, x)

    def _by_anderson(self, w: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Step to the combination of the last points whose residuals, combined alike, are least; a sample by itself."""
        lead = np.broadcast_shapes(w.shape[:-1], x.shape[:-2])
        z = np.zeros((*lead, x.shape[-2], self.out_size))
        points: list[np.ndarray] = []
        residuals: list[np.ndarray] = []
        with np.errstate(all="ignore"):
            for _ in range(EVALUATIONS):
                residual = self._step(NUMPY, w, z, x) - z
                open_ = ~self._solved(z, residual)
                if not open_.any():
                    break
                moved = z + residual
                if residuals:
                    changes = np.stack([residual - past for past in residuals], axis=-1)
                    moves = changes + np.stack([z - past for past in points], axis=-1)
                    moved = moved - (moves @ _least(changes, residual))[..., 0]
                points, residuals = [*points, z][-MEMORY:], [*residuals, residual][-MEMORY:]
                useful = open_[..., None] & np.isfinite(moved).all(axis=-1, keepdims=True)
                z = np.where(useful, moved, np.where(open_[..., None], z + residual, z))
            residual = self._step(NUMPY, w, z, x) - z
        return np.where(self._solved(z, residual)[..., None], z, np.nan)

    def _by_newton(self, w: np.ndarray, x: np.ndarray) -> np.ndarray:
        lead = np.broadcast_shapes(w.shape[:-1], x.shape[:-2])
        z = np.zeros((*lead, x.shape[-2], self.out_size))
        with np.errstate(all="ignore"):
            residual = self._step(NUMPY, w, z, x) - z
            for _ in range(ITERATIONS):
                open_ = ~self._solved(z, residual)
                if not open_.any():
                    return z
                move = np.where(open_[..., None], self._newton_step(w, x, z, residual), 0.0)
                z, residual = self._moved(w, x, z, residual, move)
        return np.where(self._solved(z, residual)[..., None], z, np.nan)

    def _by_krawczyk(self, w: Interval, x: Interval) -> Interval:
        """Enclose the fixed points for all weights and inputs inside: a box that Krawczyk's operator maps into itself.

        Each box holds one fixed point, and nothing is known where no such box was found.
        """
        start = self._found(middle(w)[0], middle(x)[0])
        size, about = self.out_size, point(start)
        with np.errstate(all="ignore"):
            centre = middle(self._matrix(w, x, about))[0]
            sound = bool(np.isfinite(centre).all() and (np.linalg.matrix_rank(centre) == size).all())
            inverse = point(np.linalg.inv(centre)) if sound else point(centre)
            rest = INTERVAL.matmul(inverse, (about - self._step(INTERVAL, w, about, x))[..., None])
            reach = 2.0 * rest.magnitude + self.tol
            for _ in range(BOXES if sound else 0):
                away = Interval(-reach, reach)
                lost = np.eye(size) - INTERVAL.matmul(inverse, self._matrix(w, x, about + away[..., 0]))
                moved = INTERVAL.matmul(lost, away) - rest
                if (moved.magnitude < reach).all():
                    return about + moved[..., 0]
                reach = 1.1 * moved.magnitude + self.tol
        everything = np.full(rest.shape[:-1], np.inf)
        return Interval(-everything, everything)

    def _matrix(self, w: Interval, x: Interval, z: Interval) -> Interval:
        """Enclose `I - df/dz`, `(..., B, out_size, out_size)`."""
        rows = INTERVAL.transpose_samples(self._transposed(INTERVAL, w, x, z), self.out_size)
        return rows.map(lambda a: a.reshape(*a.shape[:-1], self.out_size, self.out_size))

    def _newton_step(self, w: np.ndarray, x: np.ndarray, z: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Return Newton's step, or one of the fixed-point iteration where the matrix is singular."""
        try:
            matrix = NUMPY.transpose_samples(self._transposed(NUMPY, w, x, z), self.out_size)
            move = NUMPY.solve(matrix, residual)
        except np.linalg.LinAlgError:
            return residual
        return np.where(np.isfinite(move).all(axis=-1, keepdims=True), move, residual)

    def _solved(self, z: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Say for every sample whether its residual is small enough."""
        found: np.ndarray = abs(residual).max(axis=-1) <= self.tol * (1.0 + abs(z).max(axis=-1))
        return found

    def _moved(
        self, w: np.ndarray, x: np.ndarray, z: np.ndarray, residual: np.ndarray, move: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take the step, halved for those samples whose residual would not fall."""
        share = np.ones((*z.shape[:-1], 1))
        norm = np.linalg.norm(residual, axis=-1, keepdims=True)
        for _ in range(HALVINGS):
            moved = z + share * move
            new = self._step(NUMPY, w, moved, x) - moved
            worse = ~(np.linalg.norm(new, axis=-1, keepdims=True) <= norm)
            if not worse.any():
                break
            share = np.where(worse, 0.5 * share, share)
        return moved, new

    def _by_casadi(self, w: Array, x: Array) -> Array:
        if not isinstance(w, ca.MX) and not isinstance(x, ca.MX):
            raise InputError(f"{self.label}: on CasADi a fixed point needs MX symbols, got {type(x).__name__}")
        weights, inputs = ca.MX.sym("w", *w.shape), ca.MX.sym("x", *x.shape)
        unknown = ca.MX.sym("z", self.out_size)
        residual = self._step(CASADI, weights, unknown.T, inputs) - unknown.T
        system = {"x": unknown, "p": ca.veccat(weights, inputs), "g": residual.T}
        options = {"abstol": self.tol, "max_iter": ITERATIONS}
        fixed = ca.rootfinder("fixed_point", "newton", system, options)(x0=0.0, p=ca.veccat(w, x))["x"]
        return fixed.T

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        inputs = ops.concatenate([out, z]) if self.in_size else out
        source = ops.solve(self._transposed(ops, w, z, out), adjoint)
        dw, pulled = self.parts[0].vjp(ops, w, inputs, out, source)
        return dw, ops.split(pulled, [self.out_size, self.in_size])[1]

    def __repr__(self) -> str:
        return f"Implicit({self.parts[0]!r})"


def _least(changes: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return the coefficients `(..., B, m, 1)` of `changes (..., B, d, m)` that come closest to a residual."""
    usable = np.isfinite(changes).all(axis=(-1, -2)) & np.isfinite(residual).all(axis=-1)
    safe = np.where(usable[..., None, None], changes, 0.0)
    target = np.where(usable[..., None], residual, 0.0)[..., None]
    return np.linalg.pinv(safe, rcond=1e-12) @ target
