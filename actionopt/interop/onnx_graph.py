"""ONNX graphs that are no chains: nodes of a network, where several values meet, and where several are put out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.interop.onnx_images import image_of
from actionopt.interop.onnx_layers import Placed, samples_first, translate
from actionopt.interop.onnx_parts import Layout, Step
from actionopt.modules import Map, Node
from actionopt.nodes import Input
from actionopt.ops import Ops
from actionopt.ops.base import Array

JOINTS = ("Add", "Sub", "Mul", "Sum", "Concat")


@dataclass(frozen=True)
class Combine:
    """The sum, difference or product of `count` states of one size, joined feature after feature."""

    kind: str
    count: int

    def __call__(self, ops: Ops, z: Array) -> Array:
        first, *others = ops.split(z, [ops.size(z) // self.count] * self.count)
        for other in others:
            first = first * other if self.kind == "Mul" else first - other if self.kind == "Sub" else first + other
        return first


def identity(ops: Ops, z: Array) -> Array:
    """Return what is joined as it is."""
    return z


@dataclass(frozen=True)
class Value:
    """A value of the graph: the nodes whose states it is made of, and the steps on the way from there."""

    nodes: tuple[Node, ...]
    layout: Layout
    steps: tuple[Step, ...] = ()


class GraphReader:
    """Places the layers of an ONNX graph on nodes.

    Parameters
    ----------
    steps : sequence of (Step, list of str)
        The nodes that data pass through, in order, each with the names of the data that it takes.
    inputs : mapping
        Samples `(B, d)` of every input, by name.
    shapes : mapping
        The shape that the file declares for each input, 0 for an open extent.
    outputs : sequence of str
        The values wanted.
    """

    def __init__(
        self,
        steps: Sequence[tuple[Step, list[str]]],
        inputs: Mapping[str, np.ndarray],
        shapes: Mapping[str, Sequence[int]],
        outputs: Sequence[str],
    ) -> None:
        self.steps = _without_guards(steps)
        self.outputs = outputs
        self.placed = Placed()
        self.uses = Counter(name for _, data in self.steps for name in data)
        self.values: dict[str, Value] = {}
        for name, samples in inputs.items():
            shape = shapes[name]
            first = samples_first([step for step, _ in self._from(name)])
            layout = Layout(samples.shape[1], len(shape), first, shape[0] if shape else 0, image_of(shape))
            self.values[name] = Value((Input(samples, name=name),), layout)

    def read(self) -> dict[str, Node]:
        """Return the node of every output, by name."""
        for step, data in self.steps:
            if not all(name in self.values for name in data):
                raise step.unsupported("it does not depend on the inputs given")
            values = [
                self._settled(name) if self._shared(name) or len(data) > 1 else self.values[name] for name in data
            ]
            name = step.node.output[0]
            if len(values) == 1:
                self.values[name] = replace(values[0], steps=(*values[0].steps, step))
            else:
                self.values[name] = _meet(step, values)
        return {name: self._node(name) for name in self.outputs}

    def _shared(self, name: str) -> bool:
        return self.uses[name] > 1 or name in self.outputs

    def _settled(self, name: str) -> Value:
        """Place the layers on the way to a value, so that several nodes can take it."""
        value = self.values[name]
        if value.steps:
            modules, layout = translate(value.steps, value.layout, self.placed)
            nodes = value.nodes
            for module in modules:
                nodes = (module(*nodes),)
            self.values[name] = value = Value(nodes, layout)
        return value

    def _node(self, name: str) -> Node:
        if name not in self.values:
            raise InputError(f"the output {name!r} does not depend on the inputs")
        value = self._settled(name)
        if value.layout.rank > 2:
            raise InputError(f"the output {name!r} of the ONNX graph has {value.layout.rank} axes, expected 2")
        if len(value.nodes) == 1 and value.nodes[0].module is not None:
            return value.nodes[0]
        return Map(identity, value.layout.size, value.layout.size, name=name)(*value.nodes)

    def _from(self, name: str) -> list[tuple[Step, list[str]]]:
        """List the steps behind a value, in order."""
        reached, found = {name}, []
        for step, data in self.steps:
            if reached.intersection(data):
                reached.update(step.node.output)
                found.append((step, data))
        return found


def _meet(step: Step, values: Sequence[Value]) -> Value:
    """Return the value of a node that takes several."""
    kind, layout = step.node.op_type, values[0].layout
    if kind not in JOINTS or step.node.domain not in ("", "ai.onnx"):
        raise step.unsupported(f"of nodes that take several values from_onnx reads {', '.join(JOINTS)}")
    if any(value.layout.samples_first != layout.samples_first or value.layout.rank != 2 for value in values):
        raise step.unsupported("its branches lie differently; bring each to samples and features")
    nodes = tuple(node for value in values for node in value.nodes)
    sizes = [value.layout.size for value in values]
    if kind == "Concat":
        if step.attribute("axis", None) not in ((1, -1) if layout.samples_first else (0, -2)):
            raise step.unsupported("features are joined, samples stay")
        return Value(nodes, replace(layout, size=sum(sizes)))
    if len(set(sizes)) > 1:
        raise step.unsupported(f"its branches differ, {' and '.join(map(str, sizes))} features")
    joint = Map(Combine(kind, len(values)), sum(sizes), sizes[0], name=step.label)
    return Value((joint(*nodes),), layout)


def _without_guards(steps: Sequence[tuple[Step, list[str]]]) -> list[tuple[Step, list[str]]]:
    """Leave out `Where(x > threshold, x, softplus(x))`, as PyTorch guards its softplus, for the softplus alone."""
    made = {step.node.output[0]: (step, data) for step, data in steps}
    kept: list[tuple[Step, list[str]]] = []
    left_out: set[str] = set()
    alias: dict[str, str] = {}
    for step, data in steps:
        if step.node.op_type == "Where" and len(data) == 3:
            condition, x, y = (alias.get(name, name) for name in data)
            guard, soft = made.get(condition), made.get(y)
            if guard and soft and guards_softplus(guard[0], soft[0], [guard[1], [x], soft[1]]):
                alias[step.node.output[0]] = y
                left_out.add(condition)
                continue
        kept.append((step, [alias.get(name, name) for name in data]))
    return [(step, data) for step, data in kept if step.node.output[0] not in left_out]


def guards_softplus(guard: Step, soft: Step, sources: Sequence[Any]) -> bool:
    """Whether two nodes are `x > threshold` and softplus(x) of the same x, with a threshold where that is x."""
    threshold = guard.constant(1)
    alike = all(source == sources[0] for source in sources[1:])
    kinds = guard.node.op_type == "Greater" and soft.node.op_type == "Softplus"
    return alike and kinds and threshold is not None and threshold.min() >= 15.0
