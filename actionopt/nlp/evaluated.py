"""What NumPy evaluates, as functions of CasADi: where graphs of scalars would pay for every sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import casadi as ca
import numpy as np

from actionopt.interrupts import Interrupt


class Evaluated(ca.Callback):
    """A NumPy function as a CasADi function; its arrays are `(columns, rows)` of CasADi's, which stores by columns.

    Once an interrupt is raised it fails, so that a plugin without an iteration callback stops too.
    """

    def __init__(
        self,
        name: str,
        inputs: list[tuple[int, int]],
        output: tuple[int, int],
        evaluate: Callable[..., np.ndarray],
        interrupt: Interrupt | None = None,
    ) -> None:
        ca.Callback.__init__(self)
        self.inputs, self.output, self.evaluate, self.interrupt = inputs, output, evaluate, interrupt
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
        if self.interrupt is not None and self.interrupt.raised:
            return 1
        arrays = [np.frombuffer(a).reshape(shape[::-1]) for a, shape in zip(arg, self.inputs, strict=True)]
        with np.errstate(all="ignore"):  # a solver rejects a trial that overflows
            np.frombuffer(res[0]).reshape(self.output[::-1])[:] = self.evaluate(*arrays)
        return 0


class Valued(Evaluated):
    """A function of one value a column, whose slopes are known."""

    slopes: ca.Function

    def has_reverse(self, directions: int) -> bool:
        return directions == 1

    def get_reverse(
        self, directions: int, name: str, inputs: Sequence[str], outputs: Sequence[str], options: Mapping[str, Any]
    ) -> ca.Function:
        xi, value = ca.MX.sym("xi", *self.inputs[0]), ca.MX.sym("value", *self.output)
        seed = ca.MX.sym("seed", *self.output)
        pulled = self.slopes(xi) * ca.repmat(seed, self.inputs[0][0], 1)
        return ca.Function(name, [xi, value, seed], [pulled], inputs, outputs, options)
