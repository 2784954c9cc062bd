"""A deep linear network, whose gradient flow has a closed form although it is not linear in the weights.

`depth` square linear modules without offset. The inputs are whitened (mean of `x x^T` is the identity) and the
targets are `diag(strengths) x`, so that `E = 1/2 |diag(strengths) - W_L .. W_1|^2`. Starting from balanced diagonal
weights, every module equal, the modes learn independently of one another.

Source
------
A. Saxe, J. McClelland and S. Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural
networks, ICLR 2014, arXiv:1312.6120.

Known answer
------------
A mode u, the product of its weights over the depth N, follows `u' = N u^(2 - 2/N) (s - u)` under the flow
`w' = -dE/dw` (mass 1, no output metric: the default here). Closed form for one and two modules (`mode`), e.g.
2.89324077 for depth 2, s = 3, u(0) = 0.01, t = 1.5; a quadrature beyond (`time_to_reach`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.integrate import quad

import actionopt as ao


class Balanced(ao.Dense):
    """A square linear layer without offset that starts as a multiple of the identity."""

    def __init__(self, size: int, start: float) -> None:
        super().__init__(size, size, bias=False, name="Balanced")
        self.start = start

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return self.start * np.eye(self.out_size).ravel()


def build(depth: int = 2, strengths: Sequence[float] = (3.0, 2.0), start: float = 0.01) -> ao.Problem:
    """Return the problem with `len(strengths)` modes, whose initial weights make every mode equal to `start`."""
    if not (isinstance(depth, int) and depth >= 1 and start > 0):
        raise ao.InputError(f"depth must be a whole number >= 1 and start positive, got {depth!r} and {start!r}")
    size = len(strengths)
    inputs = np.sqrt(size) * np.eye(size)
    modules = [Balanced(size, start ** (1 / depth)) for _ in range(depth)]
    return ao.Problem(
        modules, inputs, inputs * np.asarray(strengths), ao.SquaredError(), output_metric=None, name="deep linear"
    )


def modes(problem: ao.Problem, w: np.ndarray) -> np.ndarray:
    """Return the modes `(..., d)`: the diagonal of the product of all matrices of the weights `(..., n)`."""
    size = problem.modules[0].out_size
    matrices = [piece.reshape(*piece.shape[:-1], size, size) for piece in problem.unflatten(w)]
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    return np.diagonal(product, axis1=-2, axis2=-1)


def mode(t: np.ndarray | float, strength: float, start: float = 0.01, depth: int = 2) -> np.ndarray:
    """Return the mode u(t) of one or two modules in closed form."""
    t = np.asarray(t, dtype=float)
    if depth == 1:
        return strength - (strength - start) * np.exp(-t)
    if depth == 2:
        return strength / (1 + (strength / start - 1) * np.exp(-2 * strength * t))
    raise ao.InputError(f"the closed form is for depth 1 and 2, got {depth}; time_to_reach serves every depth")


def time_to_reach(value: float, strength: float, start: float = 0.01, depth: int = 2) -> float:
    """Return the time at which the mode of any depth, starting from `start`, reaches `value` below the strength."""
    time, _ = quad(lambda u: 1 / (depth * u ** (2 - 2 / depth) * (strength - u)), start, value, epsabs=0, epsrel=1e-12)
    return time


def known(**options: object) -> dict[str, float]:
    """Return the least energy."""
    return {"energy": 0.0}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
