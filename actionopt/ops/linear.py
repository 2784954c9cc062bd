"""Tangents as recorded linear functions: recorded once, applied to many directions, or transposed into adjoints.

A formula on `DualOps(LinearOps(inner))`, with variables of the `LinearOps` as tangents, computes its value in `inner`
as usual and records what its tangent does to the variables: a graph of linear operations whose coefficients are arrays
of `inner`. `tape.transposed` pulls an adjoint back through the graph (reverse mode, to any order where `inner` is a
namespace of duals); `LinearProgram` runs it forward on NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from operator import add, sub
from typing import Any

import numpy as np

from actionopt.ops.base import ELEMENTWISE, Array, Ops, columns_of, one_a_sample
from actionopt.ops.dual import DualOps, duals_over
from actionopt.ops.tape import Lengths, Linear, Piece, broadcast, lengths_of


class LinearOps(Ops):
    """The namespace `inner`, which records what happens to `Linear` nodes."""

    def __init__(self, inner: Ops) -> None:
        self.inner = inner
        self.level = inner.level + 1
        for name in ELEMENTWISE:
            setattr(self, name, getattr(inner, name))

    def defined(self, x: Array, y: Array) -> Array:
        return self.inner.defined(x, y)

    def variable(self, lengths: Lengths) -> Linear:
        """Return a new variable with own axes of the given lengths."""
        return Linear(self, lengths)

    def scale(self, x: Linear, factor: Any) -> Linear:
        """Return x times a constant, elementwise; factors of factors are joined."""
        lengths = broadcast(x.lengths, lengths_of(factor))
        if x.factor is not None and x.lengths == lengths:
            x, factor = x.sources[0], x.factor * factor

        def pull(a: Array, factor: Array) -> Array:
            return self._fold(a * factor, lengths, x.lengths)

        return Linear(self, lengths, (x,), lambda x: x * factor, pull, factor, factor)

    def add(self, x: Linear, y: Linear) -> Linear:
        lengths = broadcast(x.lengths, y.lengths)

        def pull(a: Array) -> tuple[Array, Array]:
            return self._fold(a, lengths, x.lengths), self._fold(a, lengths, y.lengths)

        return Linear(self, lengths, (x, y), add, pull)

    def subtract(self, x: Linear, y: Linear) -> Linear:
        lengths = broadcast(x.lengths, y.lengths)

        def pull(a: Array) -> tuple[Array, Array]:
            return self._fold(a, lengths, x.lengths), self._fold(-a, lengths, y.lengths)

        return Linear(self, lengths, (x, y), sub, pull)

    def apply(self, function: Callable[..., np.ndarray], *sources: Linear) -> Linear:
        """Record any linear function of NumPy arrays that keeps the own axes; it runs forward only."""
        return Linear(self, sources[0].lengths, sources, function)

    def _fold(self, adjoint: Array, lengths: Lengths, target: Lengths) -> Array:
        """Sum an adjoint over the own axes along which its target was broadcast; leading axes stay."""
        if lengths == target:
            return adjoint
        if lengths[-1] != target[-1]:
            adjoint = self.inner.sum(adjoint, keepdims=True)
        if lengths[:-1] != target[:-1]:
            adjoint = self.inner.sum_samples(adjoint)
        return adjoint

    def _pieces(
        self,
        whole: Linear,
        forward: Callable[[Array], Sequence[Array]],
        join: Callable[..., Array],
        shapes: Sequence[Lengths],
    ) -> list[Linear]:
        """Take a node apart into nodes; their adjoints are joined once all of them are known."""

        def pull(pieces: dict[int, Array]) -> Array:
            return join([pieces.get(i, np.zeros(shape)) for i, shape in enumerate(shapes)])

        parent = Linear(self, whole.lengths, (whole,), forward, pull)
        return [Piece(self, shape, parent, i) for i, shape in enumerate(shapes)]

    def unpack(self, w: Array, *shapes: tuple[int, ...]) -> Any:
        if not isinstance(w, Linear):
            return self.inner.unpack(w, *shapes)
        matrices = [(1, *shape) if len(shape) == 1 else shape for shape in shapes]
        if len(shapes) == 1:
            return Linear(self, matrices[0], (w,), lambda w: self.inner.unpack(w, *shapes), self.inner.pack)
        pieces = self._pieces(
            w, lambda w: self.inner.unpack(w, *shapes), lambda parts: self.inner.pack(*parts), matrices
        )
        return tuple(pieces)

    def split(self, z: Array, sizes: Sequence[int]) -> list[Array]:
        if not isinstance(z, Linear):
            return self.inner.split(z, sizes)
        shapes = [(*z.lengths[:-1], size) for size in sizes]
        return self._pieces(z, lambda z: self.inner.split(z, sizes), self.inner.concatenate, shapes)

    def pack(self, *parts: Array) -> Array:
        shapes = [lengths_of(part) for part in parts]
        size = sum(int(np.prod(shape)) for shape in shapes)
        return self._join(
            parts, self.inner.pack, (size,), lambda a: _as_tuple(self.inner.unpack(a, *shapes), len(shapes))
        )

    def concatenate(self, parts: Sequence[Array]) -> Array:
        sizes = [lengths_of(part)[-1] for part in parts]
        own = next((part.lengths for part in parts if isinstance(part, Linear)), (0,))
        rows = [lengths_of(part)[-2] for part in parts] if len(own) == 2 else []
        whole = max(rows, default=1)

        def cut(a: Array) -> Sequence[Array]:
            pieces = self.inner.split(a, sizes)
            if not rows:
                return pieces
            shapes = zip(pieces, rows, sizes, strict=True)
            return [self._fold(piece, (whole, size), (count, size)) for piece, count, size in shapes]

        lengths = (whole, sum(sizes)) if rows else (sum(sizes),)
        return self._join(parts, lambda *parts: self.inner.concatenate(parts), lengths, cut)

    def _join(
        self,
        parts: Sequence[Array],
        function: Callable[..., Array],
        lengths: Lengths,
        cut: Callable[[Array], Sequence[Array]],
    ) -> Array:
        """Join nodes and constants; beside nodes a constant is a zero tangent."""
        nodes = [i for i, part in enumerate(parts) if isinstance(part, Linear)]
        if not nodes:
            return function(*parts)

        def forward(*found: Array) -> Array:
            joined = list(parts)
            for i, part in zip(nodes, found, strict=True):
                joined[i] = part
            return function(*joined)

        def pull(a: Array) -> Any:
            cuts = cut(a)
            pieces = [cuts[i] for i in nodes]
            return pieces if len(nodes) > 1 else pieces[0]

        return Linear(self, lengths, tuple(parts[i] for i in nodes), forward, pull)

    def matmul(self, a: Array, b: Array) -> Array:
        matmul, transpose = self.inner.matmul, self.inner.transpose
        if isinstance(a, Linear):
            lengths = (a.lengths[0], lengths_of(b)[1])
            return Linear(self, lengths, (a,), lambda x: matmul(x, b), lambda x, b: matmul(x, transpose(b)), constant=b)
        if isinstance(b, Linear):
            lengths = (lengths_of(a)[0], b.lengths[1])
            return Linear(self, lengths, (b,), lambda x: matmul(a, x), lambda x, a: matmul(transpose(a), x), constant=a)
        return matmul(a, b)

    def take(self, z: Array, indices: Sequence[int] | np.ndarray) -> Array:
        if not isinstance(z, Linear):
            return self.inner.take(z, indices)
        rows, size = z.lengths
        return Linear(
            self,
            (rows, len(indices)),
            (z,),
            lambda z: self.inner.take(z, indices),
            lambda a: self.inner.put(a, indices, size),
        )

    def put(self, z: Array, indices: Sequence[int] | np.ndarray, size: int) -> Array:
        if not isinstance(z, Linear):
            return self.inner.put(z, indices, size)
        return Linear(
            self,
            (z.lengths[0], size),
            (z,),
            lambda z: self.inner.put(z, indices, size),
            lambda a: self.inner.take(a, indices),
        )

    def one_hot(self, z: Array, size: int) -> Array:
        return self.inner.one_hot(z, size)

    def solve(self, matrix: Array, b: Array) -> Array:
        if not isinstance(b, Linear):
            return self.inner.solve(matrix, b)
        inner, size = self.inner, b.lengths[-1]
        lengths = b.lengths
        if one_a_sample(inner.size(matrix), size) or size == 1:
            lengths = (max(b.lengths[0], lengths_of(matrix)[0]), size)
            turned = inner.transpose_samples(matrix, size)
        else:
            turned = inner.transpose(matrix)

        def pull(a: Array, turned: Array) -> Array:
            return self._fold(inner.solve(turned, a), lengths, b.lengths)

        return Linear(self, lengths, (b,), lambda x: inner.solve(matrix, x), pull, constant=turned)

    def matmul_samples(self, a: Array, b: Array, inner: int) -> Array:
        if not isinstance(a, Linear) and not isinstance(b, Linear):
            return self.inner.matmul_samples(a, b, inner)
        (a_rows, a_size), (b_rows, b_size) = lengths_of(a), lengths_of(b)
        rows, columns = columns_of(a_size, inner), columns_of(b_size, inner)
        lengths, product = (max(a_rows, b_rows), rows * columns), self.inner.matmul_samples

        def pull_left(adjoint: Array, b: Array) -> Array:
            turned = self.inner.transpose_samples(b, inner)
            return self._fold(product(adjoint, turned, columns), (lengths[0], a_size), a.lengths)

        def pull_right(adjoint: Array, a: Array) -> Array:
            turned = self.inner.transpose_samples(a, rows)
            return self._fold(product(turned, adjoint, rows), (lengths[0], b_size), b.lengths)

        if isinstance(a, Linear):
            return Linear(self, lengths, (a,), lambda x: product(x, b, inner), pull_left, constant=b)
        return Linear(self, lengths, (b,), lambda x: product(a, x, inner), pull_right, constant=a)

    def parts_as_samples(self, z: Array, count: int) -> Array:
        if not isinstance(z, Linear):
            return self.inner.parts_as_samples(z, count)
        rows, size = z.lengths
        return Linear(
            self,
            (rows * count, columns_of(size, count)),
            (z,),
            lambda z: self.inner.parts_as_samples(z, count),
            lambda a: self.inner.samples_as_parts(a, count),
        )

    def samples_as_parts(self, z: Array, count: int) -> Array:
        if not isinstance(z, Linear):
            return self.inner.samples_as_parts(z, count)
        rows, size = z.lengths
        return Linear(
            self,
            (columns_of(rows, count), size * count),
            (z,),
            lambda z: self.inner.samples_as_parts(z, count),
            lambda a: self.inner.parts_as_samples(a, count),
        )

    def transpose(self, a: Array) -> Array:
        if not isinstance(a, Linear):
            return self.inner.transpose(a)
        return Linear(self, a.lengths[::-1], (a,), self.inner.transpose, self.inner.transpose)

    def sum(self, z: Array, keepdims: bool = False) -> Array:
        if not isinstance(z, Linear):
            return self.inner.sum(z, keepdims)
        *rows, columns = z.lengths
        lengths = (*rows, 1) if keepdims else tuple(rows)
        return Linear(
            self,
            lengths,
            (z,),
            lambda z: self.inner.sum(z, keepdims),
            lambda a: self.inner.repeat_columns(a, columns, keepdims),
        )

    def repeat_columns(self, z: Array, size: int, keepdims: bool = False) -> Array:
        if not isinstance(z, Linear):
            return self.inner.repeat_columns(z, size, keepdims)
        lengths = (*(z.lengths[:-1] if keepdims else z.lengths), size)
        return Linear(
            self,
            lengths,
            (z,),
            lambda z: self.inner.repeat_columns(z, size, keepdims),
            lambda a: self.inner.sum(a, keepdims),
        )

    def sum_samples(self, z: Array) -> Array:
        if not isinstance(z, Linear):
            return self.inner.sum_samples(z)
        rows, columns = z.lengths
        like = np.zeros((rows, 1))
        return Linear(self, (1, columns), (z,), self.inner.sum_samples, lambda a: self.inner.repeat_samples(a, like))

    def repeat_samples(self, row: Array, like: Array) -> Array:
        if not isinstance(row, Linear):
            return self.inner.repeat_samples(row, like)
        lengths = (lengths_of(like)[-2], row.lengths[-1])
        return Linear(self, lengths, (row,), lambda row: self.inner.repeat_samples(row, like), self.inner.sum_samples)

    def row(self, values: Any) -> Array:
        return self.inner.row(values)

    def size(self, z: Array) -> int:
        return z.lengths[-1] if isinstance(z, Linear) else self.inner.size(z)

    def rank(self, z: Array) -> int:
        return len(z.lengths) if isinstance(z, Linear) else self.inner.rank(z)

    def logsumexp(self, z: Array) -> Array:
        return self.inner.logsumexp(z)

    def softmax(self, z: Array) -> Array:
        return self.inner.softmax(z)


def _as_tuple(parts: Any, count: int) -> Sequence[Array]:
    return (parts,) if count == 1 else parts


@cache
def recording(inner: Ops) -> tuple[LinearOps, DualOps]:
    """Return the namespace that records over `inner`, and the duals over it; both are without state."""
    linear = LinearOps(inner)
    return linear, duals_over(linear)
