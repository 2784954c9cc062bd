"""Where formulas look at a chain: at states, at weights, or at a control together with the state it acts on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

STATE, READING, WEIGHTS = "state", "reading", "weights"


class Places(Protocol):
    """Where weights and states of a chain lie, and which stages are of which kind."""

    depth: int
    weights_at: list[np.ndarray]
    states_at: list[np.ndarray]
    kinds: list[Any]
    place: dict[int, tuple[int, int]]


class Blocks:
    """The Hessian of a Lagrangian, by blocks: of every kind of stage `zz (P, B, d, d)`, `zw (P, B, d, n)`, `ww (P, n,
    n)` with z the state that enters; `end (B, d, d)` in the last state."""

    def __init__(self, kinds: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], end: np.ndarray) -> None:
        self.zz, self.zw, self.ww = (list(parts) for parts in zip(*kinds, strict=True))
        self.end = end


@dataclass(frozen=True)
class Spots:
    """P places of one shape; what stands there is `y (P, B, k)`.

    Attributes
    ----------
    what : str
        "state": the state after a stage; "reading": `[w, z]` of a stage and the state that enters it; "weights": those
        of a stage, with B = 1.
    at_w, at_z : arrays of int, or None
        `(P, n)` into the weights, `(P, B, d)` into data and states.
    onto : tuple of (kind, places, chosen)
        To which stages, by kind and place in it, the second derivatives of the chosen spots belong.
    at_end : array of int
        Spots that look at the last state.
    """

    what: str
    at_w: np.ndarray | None
    at_z: np.ndarray | None
    onto: tuple[tuple[int, np.ndarray, np.ndarray], ...]
    at_end: np.ndarray

    @classmethod
    def of(cls, chain: Places, what: str, stages: Sequence[int]) -> Spots:
        """Return the spots at stages, counted from 0; the state after stage -1 is the data."""
        at_w = None if what == STATE else np.stack([chain.weights_at[a] for a in stages])
        after = [a if what == STATE else a - 1 for a in stages]
        at_z = None if what == WEIGHTS else np.stack([chain.states_at[a + 1] for a in after])
        enters = [a + 1 if what == STATE else a for a in stages]  # the stage whose block it is in
        onto = []
        for number in range(len(chain.kinds)):
            there = [
                (chain.place[a][1], p) for p, a in enumerate(enters) if a < chain.depth and chain.place[a][0] == number
            ]
            if there and what == STATE:  # second derivatives in the data are of no use
                there = [(place, p) for place, p in there if enters[p] > 0]
            if there:
                places, chosen = (np.array(column) for column in zip(*there, strict=True))
                onto.append((number, places, chosen))
        at_end = np.array([p for p, a in enumerate(enters) if a == chain.depth], dtype=int)
        return cls(what, at_w, at_z, tuple(onto), at_end)

    @property
    def cut(self) -> int:
        """How many of the variables of a spot are weights."""
        return 0 if self.at_w is None else self.at_w.shape[1]

    def look(self, w: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return what stands there, of weights `(n,)` and data and states in one array; linear in both."""
        if self.at_w is None:
            return np.asarray(z[self.at_z])
        own = w[self.at_w][:, None, :]
        if self.at_z is None:
            return own
        states = z[self.at_z]
        return np.concatenate([np.broadcast_to(own, (*states.shape[:2], own.shape[-1])), states], axis=-1)

    def pull(self, slopes: np.ndarray, to_w: np.ndarray, to_z: np.ndarray) -> None:
        """Add slopes `(P, B, k)` of what stands there to those of weights, data and states: `look`, transposed."""
        if self.at_w is not None:
            np.add.at(to_w, self.at_w, slopes[..., : self.cut].sum(axis=1))
        if self.at_z is not None:
            np.add.at(to_z, self.at_z, slopes[..., self.cut :])

    def add_curvature(self, hessian: np.ndarray, blocks: Blocks) -> None:
        """Add `hessian (P, B, k, k)` of what stands there."""
        n = self.cut
        for number, places, chosen in self.onto:
            own = hessian[chosen]
            if self.at_w is not None:
                np.add.at(blocks.ww[number], places, own[..., :n, :n].sum(axis=1))
            if self.at_z is not None:
                np.add.at(blocks.zz[number], places, own[..., n:, n:])
            if self.what == READING:
                np.add.at(blocks.zw[number], places, own[..., n:, :n])
        for p in self.at_end:
            blocks.end = blocks.end + hessian[p]
