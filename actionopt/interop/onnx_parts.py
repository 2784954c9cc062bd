"""What an ONNX graph is read into, before it is modules: nodes with their constants, layouts, dense layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actionopt.errors import InputError

Image = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Step:
    """One node on the way from input to output, with the constants it may use; `inner` is what a skip passes over."""

    node: Any
    constants: Mapping[str, np.ndarray]
    inner: tuple[Step, ...] = ()

    def around(self, inner: tuple[Step, ...]) -> Step:
        return replace(self, inner=inner)

    def constant(self, index: int) -> np.ndarray | None:
        """Return the constant at an input, None where the input is missing or carries data."""
        names = self.node.input
        return self.constants.get(names[index]) if index < len(names) else None

    def attribute(self, name: str, default: Any) -> Any:
        from onnx import helper

        return next((helper.get_attribute_value(a) for a in self.node.attribute if a.name == name), default)

    @property
    def label(self) -> str:
        """The node as messages and tables name it."""
        return f"{self.node.op_type} {self.node.name}".strip()

    def unsupported(self, reason: str) -> InputError:
        return InputError(f"ONNX node {self.label!r} -> {self.node.output[0]!r} is not supported: {reason}")


@dataclass(frozen=True)
class Layout:
    """How a value lies in memory.

    Features of a sample, number of axes, whether samples come first, how many samples the file was written for, and
    channels, height and width where samples are images.
    """

    size: int
    rank: int
    samples_first: bool
    samples: int
    image: Image | None = None


@dataclass(frozen=True, eq=False)
class Affine:
    """A dense layer as far as it is read: matrix (out, in), offset (out,), activation, the constants it is made of."""

    matrix: np.ndarray
    offset: np.ndarray | None
    activation: str | None
    name: str
    made_of: tuple[Any, ...]
