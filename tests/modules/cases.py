"""One module of every kind, all from three features to three, and user modules with nothing but a forward."""

from __future__ import annotations

from typing import Any

import actionopt as ao
from actionopt.modules import ACTIVATIONS


class Gain(ao.Module):
    """`a tanh(b z)`, a user's module: sizes as class attributes and one equation."""

    in_size, out_size, weight_size = 3, 3, 6

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (3,), (3,))
        return a * ops.tanh(b * z)


class Rotation(ao.Module):
    """Turn the first two features by one angle; the third is scaled by the distance from the axis."""

    in_size, out_size, weight_size = 3, 3, 1

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        angle = ops.unpack(w, (1,))
        x, y, scale = ops.columns(z)
        cos, sin = ops.cos(angle), ops.sin(angle)
        return ops.concatenate([cos * x - sin * y, sin * x + cos * y, scale * ops.sqrt(1.0 + x * x + y * y)])


class Gated(ao.Module):
    """A softmax of an affine score times the input: rows that sum to one, no elementwise structure."""

    in_size, out_size, weight_size = 3, 3, 12

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return z * ops.softmax(ops.affine(z, *ops.unpack(w, (3, 3), (3,))))


class Pinned(ao.Module):
    """Two scaled features beside a constant: one part of what is joined depends on nothing."""

    in_size, out_size, weight_size = 3, 3, 2

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        x, y, _ = ops.columns(z)
        a, b = ops.unpack(w, (1,), (1,))
        return ops.concatenate([a * x * y + b, ops.row([0.5]), ops.concatenate([ops.sin(y)])])


class Spread(ao.Module):
    """Weights and columns that constants spread over features and samples before they are added up or joined."""

    in_size, out_size, weight_size = 3, 3, 3

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (1,), (2,))
        x, y, _ = ops.columns(z)
        total = ops.sum(a + ops.row([1.0, 2.0]), keepdims=True) * ops.sum(ops.row([1.0, 2.0, 4.0]) - x, keepdims=True)
        return ops.concatenate([b, total * y])


CLOSED_FORM: dict[str, ao.Module] = {
    **{f"Dense {name}": ao.Dense(3, 3, name) for name in ACTIVATIONS},
    "Dense linear": ao.Dense(3, 3),
    "Dense without bias": ao.Dense(3, 3, "tanh", bias=False),
    **{f"Activation {name}": ao.Activation(3, name) for name in ACTIVATIONS},
    "Transposed": ao.Transposed(ao.Dense(3, 3)),
    "Transposed without bias": ao.Transposed(ao.Dense(3, 3, bias=False)),
    "Residual": ao.Residual(ao.Dense(3, 3, "tanh")),
    "Residual of a chain": ao.Residual(ao.Chain(ao.Dense(3, 5, "sin"), ao.Dense(5, 3))),
    "Parallel": ao.Parallel(ao.Dense(2, 1, "tanh"), ao.Activation(1, "sin"), ao.Parameter(1)),
    "Chain": ao.Chain(ao.Dense(3, 2, "tanh"), ao.Chain(ao.Activation(2, "softplus"), ao.Dense(2, 3))),
    "Each": ao.Each(ao.Dense(1, 1, "tanh"), 3),
    "Each of a chain": ao.Each(ao.Chain(ao.Dense(1, 4, "softplus"), ao.Dense(4, 1)), 3),
    "LayerNorm": ao.LayerNorm(3),
    "Conv2d": ao.Conv2d((1, 1, 3), 1, (1, 3), "tanh", padding=(0, 1)),
    "Conv2d with strides": ao.Chain(ao.Dense(3, 18), ao.Conv2d((2, 3, 3), 3, 2, "silu", stride=2)),
    "Conv2d of several channels": ao.Chain(ao.Dense(3, 8), ao.Conv2d((2, 2, 2), 3, 2, bias=False)),
    "AveragePool2d": ao.Chain(ao.Dense(3, 12), ao.AveragePool2d((3, 2, 2), 2)),
    "AveragePool2d padded": ao.AveragePool2d((1, 1, 3), (1, 3), stride=1, padding=(0, 1)),
    "Attention": ao.Attention(3, 1),
    "Attention of heads": ao.Chain(ao.Dense(3, 8), ao.Attention(2, 4, 2), ao.Dense(8, 3)),
    "Attention causal": ao.Chain(ao.Dense(3, 6), ao.Attention(3, 2, causal=True, bias=False), ao.Dense(6, 3)),
    "Chain of one mass": ao.Chain(ao.Dense(3, 4), ao.Chain(ao.Dense(4, 3, "tanh"), mass=2.0)),
}
USERS: dict[str, ao.Module] = {
    "Gain": Gain(),
    "Rotation": Rotation(),
    "Gated": Gated(),
    "Pinned": Pinned(),
    "Spread": Spread(),
}
MIXED: dict[str, ao.Module] = {
    "Residual of a user's": ao.Residual(Gain()),
    "Parallel with a user's": ao.Parallel(Rotation(), ao.Parameter(0)),
    "Chain with a user's": ao.Chain(Gated(), ao.Dense(3, 3, "sigmoid"), Gain()),
}
CASES = {**CLOSED_FORM, **USERS, **MIXED}
