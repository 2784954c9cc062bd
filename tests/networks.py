"""Small networks that are no chains: shared weights, several inputs, several costs."""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao


class Cell(ao.Module):
    """`tanh(W h + V x + b)` of [x, h] joined, as a user writes it: a forward alone."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs + width, width, width * (inputs + width + 1))
        self.inputs = inputs

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        x, h = ops.split(z, [self.inputs, self.out_size])
        left, right, offset = ops.unpack(
            w, (self.out_size, self.inputs), (self.out_size, self.out_size), (self.out_size,)
        )
        return ops.tanh(ops.affine(x, left, offset) + ops.affine(h, right))


def recurrent(
    steps: int = 5, samples: int = 4, width: int = 3, *, user: bool = False, every: bool = False, **options: Any
) -> ao.Problem:
    """A cell that is placed once a time step and read at the end, or at every step."""
    rng = np.random.default_rng(steps)
    x = rng.standard_normal((samples, steps, 2))
    cell = Cell(2, width) if user else ao.Dense(2 + width, width, "tanh", name="cell")
    read = ao.Dense(width, 1, name="read")
    h: ao.Node = ao.Input(np.zeros((samples, width)), name="h0")
    targets, costs = rng.standard_normal((steps, samples, 1)), []
    for step in range(steps):
        h = cell(ao.Input(x[:, step], name=f"x{step + 1}"), h)
        if every or step == steps - 1:
            costs.append(ao.Cost(read(h), ao.SquaredError(), targets[step], weight=1.0 / steps if every else 1.0))
    return ao.Problem(costs, name="recurrent", **options)


def tied(samples: int = 5, *, user: bool = False, **options: Any) -> ao.Problem:
    """Weights that are used twice at different depths, with a skip around them."""
    rng = np.random.default_rng(1)
    x = ao.Input(rng.standard_normal((samples, 3)), name="x")
    layer = Cell(0, 3) if user else ao.Dense(3, 3, "tanh", name="layer")
    first = layer(x)
    second = layer(first)
    added = ao.Map(lambda ops, z: ops.split(z, [3, 3])[0] + ops.split(z, [3, 3])[1], 6, 3, name="add")(x, second)
    out = ao.Dense(3, 2)(added)
    return ao.Problem([ao.Cost(out, ao.SoftmaxCrossEntropy(), rng.integers(0, 2, samples))], name="tied", **options)


def two_heads(samples: int = 6, **options: Any) -> ao.Problem:
    """Two inputs, a trunk of both, two heads with losses of their own; one head also sees an input."""
    rng = np.random.default_rng(2)
    x = ao.Input(rng.standard_normal((samples, 2)), name="x")
    u = ao.Input(rng.standard_normal((samples, 1)), name="u")
    trunk = ao.Dense(3, 4, "tanh", name="trunk")(x, u)
    value = ao.Dense(4, 2, name="value")(trunk)
    label = ao.Dense(5, 3, name="label")(trunk, u)
    costs = [
        ao.Cost(value, ao.SquaredError(), rng.standard_normal((samples, 2)), weight=0.7),
        ao.Cost(label, ao.SoftmaxCrossEntropy(), rng.integers(0, 3, samples), weight=1.9),
    ]
    return ao.Problem(costs, name="two heads", **options)


def autoencoder(samples: int = 4, *, bias: bool = False, **options: Any) -> ao.Problem:
    """An encoder whose decoder is its transpose."""
    x = ao.Input(np.random.default_rng(5).standard_normal((samples, 3)), name="x")
    encoder = ao.Dense(3, 2, "tanh", bias=bias, name="code")
    back = ao.Transposed(encoder, name="reconstruction")(encoder(x))
    return ao.Problem([ao.Cost(back, ao.SquaredError(), x.values)], name="autoencoder", **options)


def prior(samples: int = 3, **options: Any) -> ao.Problem:
    """A parameter that is a state of its own: it enters a layer and carries a cost; two costs sit on one node."""
    rng = np.random.default_rng(3)
    x = ao.Input(rng.standard_normal((samples, 2)), name="x")
    theta = ao.Parameter(2, name="theta")()
    y = ao.Residual(ao.Chain(ao.Dense(4, 4, "sin"), ao.Dense(4, 4)))(x, theta)
    shift = ao.CustomLoss(lambda ops, z, target: ops.sum(z * z + 0.1 * ops.cos(z)))
    costs = [
        ao.Cost(y, ao.SquaredError(), rng.standard_normal((samples, 4))),
        ao.Cost(theta, shift, weight=0.3),
        ao.Cost(y, shift, weight=0.2),
    ]
    return ao.Problem(costs, name="prior", **options)


NETWORKS = {
    "recurrent": recurrent(weight_decay=0.02),
    "recurrent, B = width": recurrent(samples=3, every=True),
    "recurrent, user's cell": recurrent(steps=3, user=True, every=True),
    "tied": tied(weight_decay=0.01),
    "tied, user's layer": tied(samples=3, user=True),
    "autoencoder": autoencoder(weight_decay=0.03),
    "autoencoder with offset": autoencoder(samples=3, bias=True),
    "two heads": two_heads(weight_decay=0.01),
    "prior": prior(),
    "one module twice in a list": ao.Problem(
        [layer := ao.Dense(3, 3, "tanh"), layer, ao.Dense(3, 1)],
        np.linspace(-1, 1, 12).reshape(4, 3),
        np.linspace(0, 1, 4),
        ao.SquaredError(),
    ),
}
