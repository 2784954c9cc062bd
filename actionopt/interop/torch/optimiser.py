"""The layerwise step as `torch.optim.Optimizer`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from actionopt.errors import InputError, SolverError, unknown_name
from actionopt.interop.torch.layers import check_layer, numbers, rows_of
from actionopt.interop.torch.losses import LOSSES, Measured
from actionopt.metric.block import Block
from actionopt.metric.move import check_step, real, step_along
from actionopt.metric.parts import sum_over_uses
from actionopt.metric.solver import SOLVERS, BlockSolver
from actionopt.metric.source import Source


class Use(NamedTuple):
    """One evaluation of a layer: its input and output, and their versions then."""

    z: torch.Tensor
    out: torch.Tensor
    versions: tuple[int, int]


class Layerwise(torch.optim.Optimizer):  # type: ignore[misc, unused-ignore]  # without torch it is not typed
    """Steps `x = G^{-1} (g + momentum mass x_prev)` in the layerwise metric, of the size of the joint model.

    Parameters
    ----------
    model : nn.Module
        Of Linear, Conv2d, LayerNorm, and BatchNorm in evaluation mode; any layers without weights beside them that do
        not mix samples (Dropout keeps the mask of the forward pass). Frozen layers are left out.
    loss : "cross_entropy" or "squared"
        Mean over samples of the cross-entropy of class numbers, or of `1/2 |y - target|^2` summed over outputs.
    mass : float
        The part of the metric that is always there, on the scale of the mean loss.
    momentum : float
        In [0, 1).
    trust : float, optional
        Bound on the mean square change of the outputs in a step; where None 0.3 for classes, twice the loss for several
        outputs, none for one.
    rows : "exact" or int
        Rows of the output metric a sample, or that many random combinations of them, by PyTorch's generator.
    lr : float
        Factor of the step size, one unless a scheduler wants otherwise.
    weight_decay : float
        Adds `weight_decay/2 |w|^2` to the loss.
    solve, tol
        How a layer's metric is inverted and how exactly; see `LayerMetric`.
    not_finite : "raise" or "skip"
        What to do with a batch where loss or gradient is not finite.

    Raises
    ------
    InputError
        Naming the layer whose weights it cannot see into, or the option that is out of range.

    Notes
    -----
    One forward pass of the model a step, with gradients enabled; `step` does the backward pass itself. Solves run on
    the CPU in double precision, whatever the model's; the direction of a model in double precision is that of
    `ao.LayerMetric`. BatchNorm in training mode couples samples and is refused.

    Examples
    --------
    >>> optimiser = Layerwise(model, loss="cross_entropy", mass=0.3)  # doctest: +SKIP
    >>> loss = optimiser.step(model(inputs), targets)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module,
        loss: str = "cross_entropy",
        *,
        mass: float = 0.3,
        momentum: float = 0.5,
        trust: float | None = None,
        rows: int | str = "exact",
        lr: float = 1.0,
        weight_decay: float = 0.0,
        solve: str = "auto",
        tol: float = 1e-2,
        not_finite: str = "raise",
    ) -> None:
        _check(loss, mass, rows, weight_decay, solve, tol, not_finite)
        check_step(lr, momentum, trust)
        self.model, self.loss, self.rows = model, loss, rows
        self.solve, self.tol, self.not_finite = solve, tol, not_finite
        self.skipped = 0
        self._names, self._layers = _layers(model)
        self._uses: dict[nn.Module, list[Use]] = {}
        options = {"lr": lr, "mass": mass, "momentum": momentum, "trust": trust, "weight_decay": weight_decay}
        super().__init__([p for layer in self._layers for p in _parameters(layer)], options)
        for layer in self._layers:
            layer.register_forward_hook(self._note)
        model.register_forward_pre_hook(lambda *_: self._uses.clear() if torch.is_grad_enabled() else None)

    def _note(self, layer: nn.Module, inputs: tuple[Any, ...], out: torch.Tensor) -> None:
        if torch.is_grad_enabled() and out.requires_grad:
            use = Use(inputs[0].detach(), out, (inputs[0]._version, out._version))
            self._uses.setdefault(layer, []).append(use)

    def step(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:  # type: ignore[override, unused-ignore]
        """Take a step from the outputs of the last forward pass; return the loss there.

        Raises
        ------
        InputError
            If the outputs are not of that pass, or targets do not fit, or a layer couples samples.
        SolverError
            If loss or gradient is not finite and `not_finite` is "raise", or a metric could not be inverted.
        """
        if outputs.ndim != 2 or not len(outputs) or not outputs.requires_grad:
            raise InputError(f"outputs must be (B, d) with gradients enabled, got shape {tuple(outputs.shape)}")
        for name, layer in self.model.named_modules():
            check_layer(name or "the model", layer)
        with torch.no_grad():
            found = LOSSES[self.loss](outputs.detach(), targets)
        try:
            if not torch.isfinite(found.energy):
                raise SolverError(f"the loss is {float(found.energy)}; take a larger mass, or set trust", None)
            self._move(self._blocks(outputs, found), found, len(outputs))
        except SolverError:
            if self.not_finite == "raise":
                raise
            self.skipped += 1
        self._uses.clear()
        return found.energy

    def _blocks(self, outputs: torch.Tensor, found: Measured) -> list[Block]:
        """Return the metric's blocks, in scaled coordinates, with the slope as their last row."""
        factor = found.factor if self.rows == "exact" else _sampled(found.factor, int(self.rows))
        covectors = torch.cat([factor, found.slope[None]]) / float(np.sqrt(len(outputs)))
        uses = [(layer, use) for layer in self._layers for use in self._uses.get(layer, [])]
        for layer, use in uses:
            if (use.z._version, use.out._version) != use.versions:
                raise InputError(
                    f"input or output of {self._names[layer]} was overwritten in place after the forward pass"
                )
        pulled = torch.autograd.grad(
            outputs, [use.out for _, use in uses], covectors, is_grads_batched=True, allow_unused=True
        )
        rows: dict[nn.Module, list[Any]] = {}
        for (layer, use), delta in zip(uses, pulled, strict=True):
            if delta is not None:
                rows.setdefault(layer, []).append([rows_of(layer, use.z, delta)])
        missing = [self._names[layer] for layer in self._layers if layer not in rows]
        if missing:
            raise InputError(
                f"the outputs do not come from the last forward pass of the model: {missing[0]} is not in it"
            )
        blocks, start = [], 0
        for layer in self._layers:
            size = sum(p.numel() for p in _parameters(layer))
            root = np.full(size, float(np.sqrt(self._group["mass"])))
            scaled = [piece.scaled(1.0 / root) for piece in sum_over_uses(rows[layer])]
            blocks.append(Block(self._names[layer], slice(start, start + size), root, scaled))
            start += size
        return blocks

    @property
    def _group(self) -> dict[str, Any]:
        return self.param_groups[0]

    def _move(self, blocks: list[Block], found: Measured, samples: int) -> None:
        group = self._group
        previous, w = self._remembered(), self._weights()
        v = group["weight_decay"] / group["mass"] * w
        if previous is not None:
            v = v + group["momentum"] * previous
        along = self._along(blocks, v)
        if along[1] + group["weight_decay"] * float(w @ along[0]) <= 0.0 and previous is not None:
            along = self._along(blocks, group["weight_decay"] / group["mass"] * w)
        x, fall, change = along
        slope = fall + group["weight_decay"] * float(w @ x)
        curvature = change + (group["mass"] + group["weight_decay"]) * float(x @ x)
        if not np.isfinite([slope, curvature]).all():
            raise SolverError("the gradient is not finite on this batch; take a larger mass, or set trust", None)
        bound = found.trust if group["trust"] is None else group["trust"]
        alpha = group["lr"] * step_along(slope, curvature, change, bound)
        with torch.no_grad():
            for parameter, piece in zip(group["params"], self._split(x), strict=True):
                self.state[parameter]["direction"] = piece
                parameter.sub_(alpha * piece)

    def _along(self, blocks: list[Block], v: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Return `x = G^{-1} (g + mass v)`, what the loss falls by along it, and the change of the outputs."""
        x, fall, moved = np.empty_like(v), 0.0, np.zeros(())
        for whole in blocks:
            block = whole.part(slice(-1))
            solver = BlockSolver(block, self.solve, self.tol)
            source = Source(whole, block, block.root * v[block.weights])
            along = solver.solve_along(source)
            if along is None:
                along = solver.solve_explicitly(source)
            x[block.weights] = along.x
            fall, moved = fall + along.fall, moved + along.moved
        return x, fall, float(np.vdot(moved, moved))

    def _weights(self) -> np.ndarray:
        return np.concatenate([numbers(p).ravel() for p in self._group["params"]])

    def _remembered(self) -> np.ndarray | None:
        """Return the last direction; None at the first step and without momentum."""
        kept = [self.state[p].get("direction") for p in self._group["params"]]
        if not self._group["momentum"] or any(one is None for one in kept):
            return None
        return np.concatenate([numbers(one).ravel() for one in kept])

    def _split(self, x: np.ndarray) -> list[torch.Tensor]:
        sizes = [p.numel() for p in self._group["params"]]
        pieces = torch.from_numpy(x).split(sizes)
        return [piece.reshape(p.shape).to(p) for piece, p in zip(pieces, self._group["params"], strict=True)]


def _parameters(layer: nn.Module) -> list[nn.Parameter]:
    return list(layer.parameters(recurse=False))


def _layers(model: nn.Module) -> tuple[dict[nn.Module, str], list[nn.Module]]:
    """Return names of all modules, and the layers with weights to train."""
    names: dict[nn.Module, str] = {}
    owners: dict[nn.Parameter, str] = {}
    layers = []
    for name, layer in model.named_modules():
        names[layer] = name or "the model"
        trained = {p.requires_grad for p in _parameters(layer)}
        if trained == {True}:
            for parameter in _parameters(layer):
                if parameter in owners:
                    raise InputError(f"{name} and {owners[parameter]} share a weight; place one layer twice instead")
                owners[parameter] = name
            layers.append(layer)
        elif True in trained:
            raise InputError(f"{names[layer]}: some of its weights are frozen and some are not; freeze all or none")
        if trained != {False}:
            check_unless_norm(names[layer], layer)
    if not layers:
        raise InputError("the model has no weights to train")
    return names, layers


def check_unless_norm(name: str, layer: nn.Module) -> None:
    """Check a layer; the mode of a BatchNorm is looked at when a step is taken."""
    if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
        check_layer(name, layer)


def _sampled(factor: torch.Tensor, count: int) -> torch.Tensor:
    """Return random combinations of a factor's rows, with signs: metric/sampling.py."""
    m, samples, _ = factor.shape
    if m <= count:
        return factor
    signs = 2.0 * torch.randint(0, 2, (count, m, samples), device=factor.device).to(factor.dtype) - 1.0
    return torch.einsum("kmb,mbd->kbd", signs, factor) / float(np.sqrt(count))


def _check(
    loss: Any, mass: Any, rows: Any, weight_decay: Any, solve: Any, tol: Any, not_finite: Any
) -> None:  # fmt: skip
    for what, value, known in (
        ("loss", loss, LOSSES), ("solve", solve, SOLVERS), ("not_finite", not_finite, ("raise", "skip"))
    ):  # fmt: skip
        if value not in known:
            raise unknown_name(what, value, known)
    for what, value, fits in (
        ("mass must be a positive number", mass, 0.0 < real(mass) < np.inf),
        ("weight_decay must be a number >= 0", weight_decay, 0.0 <= real(weight_decay) < np.inf),
        ("tol must be a number between 0 and 1", tol, 0.0 < real(tol) < 1.0),
    ):
        if not fits:
            raise InputError(f"{what}, got {value!r}")
    if rows != "exact" and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
        raise InputError(f"rows must be 'exact' or a whole number >= 1, got {rows!r}")
