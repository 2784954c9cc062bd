"""The density of a larger problem's gradient flow, evaluated by NumPy at all stages and called from CasADi.

Graphs of scalars pay for every weight and sample at every stage, and second derivatives of larger networks written
that way take minutes. Here the metric is eliminated where it is factorised, in NumPy, on whole trajectories: the
unknowns are positions and velocities alone, and CasADi sees three functions: values, slopes and Hessians.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import casadi as ca
import numpy as np

from actionopt.action.casadi_stages import StageFunctions, symbolic_stages
from actionopt.action.density import Blocks, Expansion
from actionopt.action.gradient_flow import GradientFlowDensity, GradientFlowExpansion

STACKED = 4  # directions that one Hessian product takes at once: measured fastest at 4 to 16


class DensityStages:
    """The functions of M stages of a gradient flow, with path constraints as graphs.

    Parameters
    ----------
    density : GradientFlowDensity
    path : StageFunctions or None
        Path constraints on `(w, v)` as functions of the stages, their own density zero.
    stages : int

    Notes
    -----
    Solvers ask for values, slopes and Hessian at one point after the other, so that the last expansion is kept.
    CasADi does not keep Python's callbacks alive: whoever uses `functions` keeps this object.
    """

    def __init__(self, density: GradientFlowDensity, path: Sequence[ca.SX], variables: ca.SX, stages: int) -> None:
        self.density = density
        n = density.size
        self._point: np.ndarray | None = None
        self._expansion: Expansion | None = None
        shape = (2 * n, stages)
        self._slopes = _Evaluated("slopes", [shape], shape, self._evaluate_slopes)
        self._value = _Valued("density", [shape], (1, stages), self._evaluate_value)
        self._value.slopes = self._slopes
        self._hessian = _Evaluated("curvature", [shape, (1, stages)], (4 * n * n, stages), self._evaluate_hessian)
        self.functions = self._with_path(symbolic_stages(variables, ca.SX(0), [], path, stages), stages)

    def _with_path(self, path: StageFunctions, stages: int) -> StageFunctions:
        xi, scale = ca.MX.sym("xi", path.variables, stages), ca.MX.sym("s", 1, stages)
        mu = ca.MX.sym("mu", path.inequalities, stages)
        dense = ca.Sparsity.dense(path.variables, path.variables)
        rows, columns = path.hessian_pattern.get_triplet()
        places = [j * path.variables + i for i, j in zip(rows, columns, strict=True)]
        hessian = self._hessian(xi, scale)
        if places:
            put = ca.DM(ca.Sparsity.triplet(dense.nnz(), len(places), places, list(range(len(places)))), 1.0)
            hessian = hessian + put @ path.hessian(xi, scale, mu)
        return StageFunctions(
            variables=path.variables,
            equalities=0,
            inequalities=path.inequalities,
            value=ca.Function("value", [xi], [self._value(xi), path.value(xi)[1]]),
            slopes=self._slopes,
            jacobian=path.jacobian,
            jacobian_pattern=path.jacobian_pattern,
            hessian=ca.Function("hessian", [xi, scale, mu], [hessian]),
            hessian_pattern=dense,
        )

    def _expand(self, xi: np.ndarray) -> Expansion:
        """Expand about the stages `xi (M, 2n)`."""
        if self._expansion is None or self._point is None or not np.array_equal(xi, self._point):
            n = self.density.size
            self._point = xi.copy()
            with np.errstate(all="ignore"):
                self._expansion = self.density.expand_blocks(self._point[:, :n], self._point[:, n:])
        return self._expansion

    def _evaluate_value(self, xi: np.ndarray) -> np.ndarray:
        return self._expand(xi).value[:, None]

    def _evaluate_slopes(self, xi: np.ndarray) -> np.ndarray:
        expansion = self._expand(xi)
        return np.concatenate([expansion.force, expansion.momentum], axis=-1)

    def _evaluate_hessian(self, xi: np.ndarray, scale: np.ndarray) -> np.ndarray:
        expansion = self._expand(xi)
        parts = expansion.parts if isinstance(expansion, Blocks) else [expansion]
        blocks = np.concatenate([stage_hessians(part) for part in parts])  # type: ignore[arg-type]
        return (blocks * scale[:, :, None]).reshape(len(xi), -1)


def stage_hessians(expansion: GradientFlowExpansion) -> np.ndarray:
    """Return the Hessian of l in (w, v) at every stage, `(M, 2n, 2n)`."""
    stages, n = expansion.w.shape
    hessian = np.empty((stages, 2 * n, 2 * n))
    unit = np.eye(n)[:, None]
    still = np.zeros((STACKED, stages, n))
    hessian[:, n:, n:] = expansion.metric.product(np.broadcast_to(unit, (n, stages, n))).transpose(1, 2, 0)
    for first in range(0, n, STACKED):
        some = slice(first, min(first + STACKED, n))
        along = np.array(np.broadcast_to(unit[some], (some.stop - first, stages, n)))
        force, momentum = expansion.product(along, still[: len(along)])
        hessian[:, :n, some] = force.transpose(1, 2, 0)
        hessian[:, n:, some] = momentum.transpose(1, 2, 0)
    hessian[:, :n, n:] = hessian[:, n:, :n].swapaxes(-1, -2)
    return hessian


class _Evaluated(ca.Callback):
    """A NumPy function of stages as a CasADi function; arrays are `(M, rows)`, columns on CasADi's side."""

    def __init__(
        self,
        name: str,
        inputs: list[tuple[int, int]],
        output: tuple[int, int],
        evaluate: Callable[..., np.ndarray],
    ) -> None:
        ca.Callback.__init__(self)
        self.inputs, self.output, self.evaluate = inputs, output, evaluate
        self.construct(name, {})

    def get_n_in(self) -> int:
        return len(self.inputs)

    def get_n_out(self) -> int:
        return 1

    def get_sparsity_in(self, i: int) -> ca.Sparsity:
        return ca.Sparsity.dense(*self.inputs[i])

    def get_sparsity_out(self, i: int) -> ca.Sparsity:
        return ca.Sparsity.dense(*self.output)

    def has_eval_buffer(self) -> bool:
        return True

    def eval_buffer(self, arg: Sequence[memoryview], res: Sequence[memoryview]) -> int:
        arrays = [np.frombuffer(a).reshape(shape[::-1]) for a, shape in zip(arg, self.inputs, strict=True)]
        np.frombuffer(res[0]).reshape(self.output[::-1])[:] = self.evaluate(*arrays)
        return 0


class _Valued(_Evaluated):
    """A function of one value a stage, whose slopes are known."""

    slopes: ca.Function

    def has_reverse(self, directions: int) -> bool:
        return directions == 1

    def get_reverse(
        self, directions: int, name: str, inputs: list[str], outputs: list[str], options: dict[str, object]
    ) -> ca.Function:
        xi, value = ca.MX.sym("xi", *self.inputs[0]), ca.MX.sym("value", *self.output)
        seed = ca.MX.sym("seed", *self.output)
        pulled = self.slopes(xi) * ca.repmat(seed, self.inputs[0][0], 1)
        return ca.Function(name, [xi, value, seed], [pulled], inputs, outputs, options)
