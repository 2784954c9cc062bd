"""Multi-head self-attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.modules.base import Module, check_count, no_weights
from actionopt.modules.composite import Chain, Composite
from actionopt.modules.dense import Dense
from actionopt.modules.each import Each
from actionopt.ops import Ops
from actionopt.ops.base import Array

MASKED = -1e30  # score of a token that may not be seen: its weight is exactly zero


class Attention(Composite):
    """Multi-head self-attention: every token becomes a weighted mean of values, with weights that depend on all tokens.

    For each head, with queries q, keys k and values v `(tokens, width / heads)` that are affine in the tokens,
    `softmax(q k^T / sqrt(width / heads)) v`; the heads' results are joined and passed through an affine map
    (Vaswani et al. 2017).

    Parameters
    ----------
    tokens, width : int
        States are `tokens * width` features, token after token.
    heads : int
        Divides the width.
    causal : bool
        Whether a token sees only itself and those before.
    bias : bool
        Whether the affine maps have offsets.
    mass : float or array (weight_size,), optional
        Diagonal of this module's part of the metric; the problem's where None.
    name : str, optional
        The name in tables and messages.

    Raises
    ------
    InputError
        If a size is no positive whole number, or the heads do not divide the width.

    Notes
    -----
    Weights are `[W_qkv (3 width, width), b_qkv, W_out (width, width), b_out]`, each matrix row-major: the order of
    `torch.nn.MultiheadAttention`. They start as normal(0, 1/width), offsets as 0.

    Examples
    --------
    >>> ao.Attention(tokens=4, width=6, heads=2).out_size
    24
    """

    def __init__(
        self,
        tokens: int,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        bias: bool = True,
        mass: Any = None,
        name: str | None = None,
    ) -> None:
        self.tokens = check_count("Attention", "tokens", tokens)
        self.width = check_count("Attention", "width", width)
        self.heads = check_count("Attention", "heads", heads)
        if self.width % self.heads:
            raise InputError(f"Attention: {self.heads} heads do not divide the width {self.width}")
        self.chain = Chain(
            Each(Dense(self.width, 3 * self.width, bias=bias), self.tokens),
            Mixing(self.tokens, self.width, self.heads, causal),
            Each(Dense(self.width, self.width, bias=bias), self.tokens),
        )
        super().__init__(self.chain.parts, self.tokens * self.width, self.tokens * self.width, mass, name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return self.chain.forward(ops, w, z)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        return self.chain.vjp(ops, w, z, out, adjoint)

    def __repr__(self) -> str:
        return f"Attention({self.tokens}, {self.width}, {self.heads})"


class Mixing(Module):
    """What attention does between its affine maps: `[q, k, v]` of every token to the heads' weighted means of v."""

    def __init__(self, tokens: int, width: int, heads: int, causal: bool = False) -> None:
        super().__init__(3 * tokens * width, tokens * width, 0)
        self.tokens, self.heads, self.head_width = tokens, heads, width // heads
        self.scale = self.head_width**-0.5
        self.mask = np.where(np.tri(tokens).ravel() > 0, 0.0, MASKED) if causal else None
        # features (token, q k v, head, place) to (q k v, head, token, place), and (head, token, place) back
        order = np.arange(3 * tokens * width).reshape(tokens, 3, heads, self.head_width)
        self.apart = order.transpose(1, 2, 0, 3).ravel()
        self.joined = np.arange(tokens * width).reshape(heads, tokens, self.head_width).transpose(1, 0, 2).ravel()

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        q, k, v = self._heads(ops, z)
        mixed = ops.matmul_samples(self._weights(ops, q, k), v, self.tokens)
        return ops.take(ops.samples_as_parts(mixed, self.heads), self.joined)

    def _heads(self, ops: Ops, z: Array) -> list[Array]:
        """Return q, k and v with a head as a sample, `(..., B heads, tokens * width / heads)`."""
        pieces = ops.split(ops.take(z, self.apart), 3 * [self.out_size])
        return [ops.parts_as_samples(piece, self.heads) for piece in pieces]

    def _weights(self, ops: Ops, q: Array, k: Array) -> Array:
        """Return the weights of every head, `(..., B heads, tokens^2)`."""
        scores = self.scale * ops.matmul_samples(q, ops.transpose_samples(k, self.tokens), self.head_width)
        if self.mask is not None:
            scores = scores + ops.repeat_samples(ops.row(self.mask), scores)
        return ops.samples_as_parts(ops.softmax(ops.parts_as_samples(scores, self.tokens)), self.tokens)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        q, k, v = self._heads(ops, z)
        weights, tokens = self._weights(ops, q, k), self.tokens
        pulled = ops.parts_as_samples(ops.take(adjoint, np.argsort(self.joined)), self.heads)
        by_weights = ops.matmul_samples(pulled, ops.transpose_samples(v, tokens), self.head_width)
        parts, moved = (ops.parts_as_samples(x, tokens) for x in (weights, weights * by_weights))
        mean = ops.repeat_columns(ops.sum(moved, keepdims=True), tokens, keepdims=True)
        by_scores = self.scale * ops.samples_as_parts(moved - parts * mean, tokens)
        found = [
            ops.matmul_samples(by_scores, k, tokens),
            ops.matmul_samples(ops.transpose_samples(by_scores, tokens), q, tokens),
            ops.matmul_samples(ops.transpose_samples(weights, tokens), pulled, tokens),
        ]
        joined = ops.concatenate([ops.samples_as_parts(x, self.heads) for x in found])
        return no_weights(ops, adjoint), ops.take(joined, np.argsort(self.apart))

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(0)
