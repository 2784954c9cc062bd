"""Adjoints of a module that only defines forward: autograd's trace of NumPy against CasADi's mapped reverse derivative.

    python -m benchmarks.derived_products --samples 1000

Both pull the same adjoint of a batch back to the weights and the inputs of a user's module, and must agree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import casadi as ca
import click
import numpy as np

import actionopt as ao
from actionopt.ops import NUMPY
from actionopt.symbolic import module_function
from benchmarks._report import Report, measure


class Layer(ao.Module):
    """A user's dense tanh layer: forward alone."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, size * (size + 1))

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return ops.tanh(ops.affine(z, *ops.unpack(w, (self.out_size, self.in_size), (self.out_size,))))


def casadi_reverse(module: ao.Module, samples: int) -> ca.Function:
    """Return `(z, w, adjoint) -> (adjoint of w, summed over samples; adjoint of z)` over a batch of columns."""
    function = module_function(module)
    z, w = ca.MX.sym("z", module.in_size), ca.MX.sym("w", module.weight_size)
    adjoint = ca.MX.sym("adjoint", module.out_size)
    pulled = [ca.jtimes(function(z, w), at, adjoint, True) for at in (w, z)]
    return ca.Function("reverse", [z, w, adjoint], pulled).map("batch", "serial", samples, [1], [0])


@click.command(help=__doc__)
@click.option("--samples", default=1000, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(samples: int, repeats: int, json_path: Path | None) -> None:
    report = Report(
        "Adjoints of a forward-only module", ("size", "autograd", "CasADi build", "CasADi map", "CasADi / autograd")
    )
    rng = np.random.default_rng(0)
    for size in (4, 16, 64):
        module = Layer(size)
        w = module.initial_weights(rng) / size
        z, adjoint = rng.standard_normal((2, samples, size))
        out = module.forward(NUMPY, w, z)
        traced = measure(lambda: module.vjp(NUMPY, w, z, out, adjoint), repeats=repeats, warmup=1)  # noqa: B023
        built = measure(lambda: casadi_reverse(module, samples), repeats=1)  # noqa: B023
        columns, adjoints = ca.DM(z.T), ca.DM(adjoint.T)
        mapped = measure(lambda: built.value(columns, w, adjoints), repeats=repeats, warmup=1)  # noqa: B023
        in_weights, in_states = (part.full() for part in mapped.value)
        np.testing.assert_allclose(in_weights.reshape(-1), traced.value[0].reshape(-1), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(in_states.T, traced.value[1], rtol=1e-9, atol=1e-11)
        ratio = mapped.median / traced.median
        report.add(
            **{"size": size, "autograd": traced, "CasADi build": built.median, "CasADi map": mapped,
               "CasADi / autograd": ratio}
        )  # fmt: skip
    report.emit(json_path)


if __name__ == "__main__":
    main()
