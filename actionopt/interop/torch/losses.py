"""Losses for PyTorch's outputs: energy, slope, and the factor of the output metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from actionopt.errors import InputError
from actionopt.metric.move import CLASSES


class Measured(NamedTuple):
    """A loss at some outputs.

    Attributes
    ----------
    energy : Tensor
        Mean over samples.
    slope : Tensor (B, d)
        Gradient of each sample's loss in its outputs.
    factor : Tensor (m, B, d)
        L of the output metric `L^T L` of each sample.
    trust : float
        Bound on the change of the outputs in a step.
    """

    energy: torch.Tensor
    slope: torch.Tensor
    factor: torch.Tensor
    trust: float


def cross_entropy(y: torch.Tensor, target: torch.Tensor) -> Measured:
    """Softmax cross-entropy of class numbers `(B,)`."""
    if target.shape != y.shape[:1] or target.dtype.is_floating_point or target.dtype == torch.bool:
        came = f"{target.dtype} of shape {tuple(target.shape)}"
        raise InputError(f"targets must be class numbers ({len(y)},), got {came}")
    classes, least, most = y.shape[-1], int(target.min()), int(target.max())
    if not 0 <= least <= most < classes:
        raise InputError(f"class numbers must lie in 0 .. {classes - 1}, got {least} .. {most}")
    p = torch.softmax(y, -1)
    s = p.sqrt()
    # rows 1 .. d - 1 of a reflection that takes s to -e_d, times diag(s): metric/output_factor.py
    last = s[:, -1:]
    reflected = torch.cat([s[:, :-1] / (1.0 + last), torch.ones_like(last)], -1) * s
    factor = -s[:, :-1].T[..., None] * reflected
    diagonal = torch.arange(classes - 1, device=y.device)
    factor[diagonal, :, diagonal] += s[:, :-1].T
    return Measured(
        functional.cross_entropy(y, target), p - functional.one_hot(target, classes).to(y.dtype), factor, CLASSES
    )


def squared(y: torch.Tensor, target: torch.Tensor) -> Measured:
    """`1/2 |y - target|^2`, summed over outputs, mean over samples."""
    if target.shape != y.shape:
        raise InputError(f"targets must have the outputs' shape {tuple(y.shape)}, got {tuple(target.shape)}")
    slope, outputs = y - target, y.shape[-1]
    energy = 0.5 * slope.square().sum(-1).mean()
    factor = torch.eye(outputs, dtype=y.dtype, device=y.device)[:, None].expand(-1, len(y), -1)
    return Measured(energy, slope, factor, float("inf") if outputs == 1 else 2.0 * float(energy))


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], Measured]] = {
    "cross_entropy": cross_entropy,
    "squared": squared,
}
