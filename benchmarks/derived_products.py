"""Adjoints of a module that only defines forward: recorded tangents, autograd's trace, CasADi's mapped derivative.

    python -m benchmarks.derived_products --samples 1000

All pull the same adjoint of a batch back to the weights and the inputs of a user's module, and must agree; then the
change of these along a direction, which Hessian products are made of. autograd takes part where it is installed
(`pip install autograd`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import casadi as ca
import click
import numpy as np

import actionopt as ao
from actionopt.ops import NUMPY, ArrayOps, duals_over
from actionopt.symbolic import module_function
from benchmarks._report import Report, Timing, measure

Pair = tuple[np.ndarray, np.ndarray]  # of the weights (n,) and of the inputs (B, in)
DUALS = duals_over(NUMPY)
COLUMNS = ("order", "size", "recorded", "autograd", "CasADi build", "CasADi map", "autograd ratio", "CasADi ratio")


class Layer(ao.Module):
    """A user's dense tanh layer: forward alone."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, size * (size + 1))

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return ops.tanh(ops.affine(z, *ops.unpack(w, (self.out_size, self.in_size), (self.out_size,))))


def recorded(module: ao.Module, at: Pair, out: np.ndarray, adjoint: np.ndarray) -> Pair:
    """Pull an adjoint back by actionopt's recorded tangents."""
    return module.vjp(NUMPY, *at, out, adjoint)


def recorded_change(module: ao.Module, at: Pair, along: Pair, adjoint: np.ndarray) -> Pair:
    """Change what is pulled back along a direction: the same on duals, forward included."""
    w, z = (DUALS.dual(x, move) for x, move in zip(at, along, strict=True))
    pulled = module.vjp(DUALS, w, z, module.forward(DUALS, w, z), DUALS.dual(adjoint, None))
    return tuple(DUALS.parts(x)[1] for x in pulled)


def traced(module: ao.Module) -> tuple[Callable[..., Pair], Callable[..., Pair]]:
    """Return `recorded` and `recorded_change` by autograd: its trace, and the trace of a trace."""
    import autograd.numpy as traced_numpy
    from autograd import make_vjp

    ops = ArrayOps()
    ops.tanh, ops.matmul = traced_numpy.tanh, traced_numpy.matmul
    ops.transpose = lambda a: traced_numpy.swapaxes(a, -1, -2)

    def pull(at: Pair, adjoint: np.ndarray) -> Pair:
        return make_vjp(lambda at: module.forward(ops, *at))(at)[0](adjoint)

    def change(at: Pair, along: Pair, adjoint: np.ndarray) -> Pair:
        def slope(at: Pair) -> Any:
            return sum(traced_numpy.sum(x * move) for x, move in zip(pull(at, adjoint), along, strict=True))

        return make_vjp(slope)(at)[0](1.0)

    return pull, change


def casadi_reverse(module: ao.Module, samples: int) -> ca.Function:
    """Return `(z, w, adjoint) -> (adjoint of w, summed over samples; adjoint of z)` over a batch of columns."""
    function = module_function(module)
    z, w = ca.MX.sym("z", module.in_size), ca.MX.sym("w", module.weight_size)
    adjoint = ca.MX.sym("adjoint", module.out_size)
    pulled = [ca.jtimes(function(z, w), at, adjoint, True) for at in (w, z)]
    return ca.Function("reverse", [z, w, adjoint], pulled).map("batch", "serial", samples, [1], [0])


def check_same(ours: Timing, theirs: Pair) -> None:
    """Raise AssertionError unless two contestants computed the same."""
    for mine, other in zip(ours.value, theirs, strict=True):
        np.testing.assert_allclose(other, mine, rtol=1e-9, atol=1e-11)


@click.command(help=__doc__)
@click.option("--samples", default=1000, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(samples: int, repeats: int, json_path: Path | None) -> None:
    report = Report("Products derived from a bare forward", COLUMNS, packages=("autograd",))
    for size in (4, 16, 64):
        compare(report, size, samples, {"repeats": repeats, "warmup": 1})
    report.emit(json_path)


def compare(report: Report, size: int, samples: int, often: dict[str, int]) -> None:
    """Add the rows of one layer: the adjoints, then their change along a direction."""
    rng = np.random.default_rng(0)
    module = Layer(size)
    w, dw = (module.initial_weights(rng) / size for _ in range(2))
    z, dz, adjoint = rng.standard_normal((3, samples, size))
    at, along, out = (w, z), (dw, dz), module.forward(NUMPY, w, z)
    ours = measure(lambda: recorded(module, at, out, adjoint), **often)
    second = measure(lambda: recorded_change(module, at, along, adjoint), **often)
    theirs = changes = None
    if importlib.util.find_spec("autograd"):
        pull, change = traced(module)
        theirs, changes = (
            measure(lambda: pull(at, adjoint), **often),
            measure(lambda: change(at, along, adjoint), **often),
        )
        check_same(ours, theirs.value)
        check_same(second, changes.value)
    built = measure(lambda: casadi_reverse(module, samples), repeats=1)
    columns, adjoints = ca.DM(z.T), ca.DM(adjoint.T)
    mapped = measure(lambda: built.value(columns, w, adjoints), **often)
    check_same(ours, (mapped.value[0].full().reshape(-1), mapped.value[1].full().T))
    report.add(**_row("adjoints", size, ours, theirs), **{"CasADi build": built.median, "CasADi map": mapped,
               "CasADi ratio": mapped.median / ours.median})  # fmt: skip
    report.add(**_row("their change", size, second, changes))


def _row(order: str, size: int, ours: Timing, theirs: Timing | None) -> dict[str, Any]:
    ratio = None if theirs is None else theirs.median / ours.median
    return {"order": order, "size": size, "recorded": ours, "autograd": theirs, "autograd ratio": ratio}


if __name__ == "__main__":
    main()
