"""ONNX nodes that only move entries, done on the numbers of one sample's entries `(1, ...)`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actionopt.interop.onnx_parts import Step


def _reshape(step: Step, entries: np.ndarray) -> np.ndarray:
    target = [int(extent) for extent in np.ravel(step.constant(1))]  # type: ignore[arg-type]
    if target:
        target[0] = 1  # the samples: 0, -1, or how many the file was written for
    return entries.reshape([entries.shape[k] if extent == 0 else extent for k, extent in enumerate(target)])


def _transpose(step: Step, entries: np.ndarray) -> np.ndarray:
    order = [int(axis) for axis in step.attribute("perm", range(entries.ndim)[::-1])]
    if order[0] != 0:
        raise step.unsupported("the axis of the samples must stay first")
    return entries.transpose(order)


def _flatten(step: Step, entries: np.ndarray) -> np.ndarray:
    if step.attribute("axis", 1) != 1:
        raise step.unsupported("the axis of the samples must stay")
    return entries.reshape(1, -1)


def _slice(step: Step, entries: np.ndarray) -> np.ndarray:
    starts, ends = np.ravel(step.constant(1)), np.ravel(step.constant(2))  # type: ignore[arg-type]
    given_axes, given_steps = step.constant(3), step.constant(4)
    axes = range(len(starts)) if given_axes is None else np.ravel(given_axes)
    strides = [1] * len(starts) if given_steps is None else np.ravel(given_steps)
    cuts = [slice(None)] * entries.ndim
    for axis, start, end, stride in zip(axes, starts, ends, strides, strict=True):
        last = None if int(end) < -entries.shape[axis] else int(end)  # to the beginning, backwards
        cuts[int(axis)] = slice(int(start), last, int(stride))
    if cuts[0] != slice(None):
        raise step.unsupported("it cuts samples")
    return entries[tuple(cuts)]


def _gather(step: Step, entries: np.ndarray) -> np.ndarray:
    axis, chosen = int(step.attribute("axis", 0)), step.constant(1)
    if axis % entries.ndim == 0 or chosen is None:
        raise step.unsupported("it chooses samples, or by data")
    return entries.take(chosen.astype(int), axis=axis)


def _squeeze(step: Step, entries: np.ndarray) -> np.ndarray:
    return entries.squeeze(tuple(int(axis) for axis in np.ravel(step.constant(1))))  # type: ignore[arg-type]


def _unsqueeze(step: Step, entries: np.ndarray) -> np.ndarray:
    return np.expand_dims(entries, tuple(int(axis) for axis in np.ravel(step.constant(1))))  # type: ignore[arg-type]


MOVES: dict[str, Callable[[Step, np.ndarray], np.ndarray]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Slice": _slice,
    "Gather": _gather,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
