"""What a `Problem` is made of, from an ONNX file with data, targets and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actionopt.errors import InputError
from actionopt.interop.onnx import read_onnx
from actionopt.losses import Logistic
from actionopt.modules import Activation, Module, Node
from actionopt.nodes import Cost


def onnx_parts(path: str | Path, inputs: Any, targets: Any, loss: Any) -> tuple[Any, ...]:
    """Return what `Problem` takes first: modules, inputs, targets and loss of a chain, or the costs of a network.

    Raises
    ------
    InputError
        As `read_onnx`, or if targets and losses are not one for each output.
    """
    names = list(targets) if isinstance(targets, Mapping) else None
    found = read_onnx(path, inputs, names)
    if names is not None:
        loss = [loss[name] if isinstance(loss, Mapping) else loss for name in names]
        targets = [targets[name] for name in names]
        if isinstance(found, tuple):
            (targets,), (loss,) = targets, loss
    if isinstance(found, tuple):
        _check_logits(path, found[-1], loss)
        (single,) = inputs.values() if isinstance(inputs, Mapping) else [inputs]
        return found, single, targets, loss
    return (_costs(path, found, targets, loss),)


def _costs(path: str | Path, nodes: Sequence[Node], targets: Any, loss: Any) -> list[Cost]:
    """Return a cost on every output that was read."""
    if len(nodes) == 1:
        targets, loss = (one if isinstance(one, list) and len(one) == 1 else [one] for one in (targets, loss))
    for what, given in (("targets", targets), ("losses", loss)):
        if not isinstance(given, (list, tuple)) or len(given) != len(nodes):
            raise InputError(f"{path} has {len(nodes)} outputs: give {what} for each, by name or in their order")
    for node, one in zip(nodes, loss, strict=True):
        _check_logits(path, node.module, one)
    return [Cost(node, one, target) for node, one, target in zip(nodes, loss, targets, strict=True)]


def _check_logits(path: str | Path, last: Module | None, loss: Any) -> None:
    name = last.name if isinstance(last, Activation) else getattr(last, "activation", None)
    if isinstance(loss, Logistic) and name == "sigmoid":
        raise InputError(f"{path} ends in a sigmoid, and the logistic loss applies one too; export the logits")
