"""From what was written down, a list of modules or costs on nodes, to a network in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.losses import Loss, as_samples
from actionopt.modules import Module, Node
from actionopt.modules.composite import check_modules, check_sizes, flatten
from actionopt.network import Group, Network, Place, Term
from actionopt.nodes import Cost, Input

Wire = tuple[Module, str, tuple[int, ...]]  # a module, its node's name, the indices of the nodes it takes


def chain(modules: Sequence[Module], inputs: np.ndarray, loss: Loss, targets: np.ndarray) -> Network:
    """Return the network of a list of modules, each on the state of the one before; the last carries the cost."""
    wires = [(module, module.label, (index,)) for index, module in enumerate(modules)]
    nodes, groups = _arrange([("input", inputs.shape[1])], wires)
    return Network(nodes, groups, (Term(len(modules), loss, 1.0),), (inputs,), (targets,))


def network_of(costs: Sequence[Cost]) -> Network:
    """Return the network that some costs stand on.

    Raises
    ------
    InputError
        If nodes run in a circle, lead to no cost or belong to another network, inputs are unused or of different
        lengths, targets do not fit, or weights are shared in a way that cannot be kept.
    """
    order = _ordered(costs)
    inputs = [node for node in order if isinstance(node, Input)]
    placed = [node for node in order if node.module is not None]
    handles = [*inputs, *placed]
    index = {id(node): k for k, node in enumerate(handles)}
    _check_whole(handles, index)
    _check_one(handles, costs, index)
    samples = _samples(inputs, costs)
    targets = [_prepared(cost, samples) for cost in costs]
    wires = [(node.module, node.name, tuple(index[id(s)] for s in node.of)) for node in placed if node.module]
    nodes, groups = _arrange([(node.name, node.size) for node in inputs], wires)
    terms = tuple(Term(index[id(cost.node)], cost.loss, cost.weight) for cost in costs)
    data = tuple(node.values for node in inputs)
    return Network(nodes, groups, terms, data, tuple(targets), tuple(handles))


def _ordered(costs: Sequence[Cost]) -> list[Node]:
    """Return every node that a cost stands on, as they were written down: sources before what is made of them."""
    order: list[Node] = []
    done: set[int] = set()
    for cost in costs:
        path: list[Node] = []  # from the cost's node down to the one looked at
        waiting: list[Iterator[Node]] = [iter((cost.node,))]
        while waiting:
            node = next(waiting[-1], None)
            if node is None:
                waiting.pop()
                if path:
                    order.append(path[-1])
                    done.add(id(path.pop()))
            elif any(node is above for above in path):
                start = next(k for k, above in enumerate(path) if above is node)
                circle = " <- ".join(repr(n.name) for n in [*path[start:], node])
                raise InputError(f"nodes run in a circle: {circle}; a network is evaluated in one direction")
            elif id(node) not in done:
                path.append(node)
                waiting.append(iter(node.of))
    return sorted(order, key=lambda node: node.number)


def _check_whole(handles: Sequence[Node], index: dict[int, int]) -> None:
    """Refuse nodes that are made of these and lead to no cost, and inputs that were written among them for nothing."""
    for node in handles:
        for use in sorted(node.uses, key=lambda use: use.number):
            if id(use) not in index and not _leads_to_cost(use):
                raise InputError(
                    f"node {use.name!r}, placed on {node.name!r}, leads to no cost; give it one, ao.Cost({use.name}, "
                    "loss, targets), of weight=0 where its state is only looked at, or leave it out (del)"
                )
    numbers = [node.number for node in handles]
    if idle := Input.idle(min(numbers), max(numbers)):
        raise InputError(
            f"input {idle[0].name!r} is not used: no module of the network takes it; place one on it, or leave it out"
        )


def _leads_to_cost(node: Node) -> bool:
    """Whether a cost stands on a node or on one made of it, be it another problem's."""
    waiting, seen = [node], {id(node)}
    while waiting:
        one = waiting.pop()
        if one.costed:
            return True
        waiting += [use for use in one.uses if id(use) not in seen]
        seen.update(id(use) for use in one.uses)
    return False


def _check_one(handles: Sequence[Node], costs: Sequence[Cost], index: dict[int, int]) -> None:
    """Refuse costs whose nodes have neither data nor weights in common: those are several problems."""
    owner = list(range(len(handles)))

    def root(k: int) -> int:
        while owner[k] != k:
            k = owner[k]
        return k

    modules: dict[int, int] = {}
    for k, node in enumerate(handles):
        for source in node.of:
            owner[root(index[id(source)])] = root(k)
        if node.module is not None:
            owner[root(modules.setdefault(id(_owner(node.module)), k))] = root(k)
    first = root(index[id(costs[0].node)])
    for cost in costs[1:]:
        if root(index[id(cost.node)]) != first:
            raise InputError(
                f"node {cost.node.name!r} belongs to another network than {costs[0].node.name!r}: they share neither "
                "inputs nor weights; make a Problem of each"
            )


def _samples(inputs: Sequence[Input], costs: Sequence[Cost]) -> int:
    """Return the number of samples B that all inputs have; without inputs, that of the first targets."""
    counts = [len(node.values) for node in inputs]
    for node in inputs[1:]:
        if len(node.values) != counts[0]:
            raise InputError(
                f"inputs must have as many samples each: {inputs[0].name!r} has {counts[0]}, {node.name!r} has "
                f"{len(node.values)}"
            )
    if counts:
        return counts[0]
    return next((len(np.atleast_1d(cost.targets)) for cost in costs if cost.targets is not None), 1)


def _prepared(cost: Cost, samples: int) -> np.ndarray:
    try:
        return cost.loss.prepare(cost.targets, samples, cost.node.size)
    except InputError as error:
        raise InputError(f"cost on node {cost.node.name!r} of {cost.node.size} features: {error}") from None


def _arrange(inputs: Sequence[tuple[str, int]], wires: Sequence[Wire]) -> tuple[tuple[Place, ...], tuple[Group, ...]]:
    """Name the nodes and gather the uses of every module's weights."""
    start = len(inputs)
    names = _unique([name for name, _ in inputs]) + _unique([name for _, name, _ in wires], {n for n, _ in inputs})
    owners: dict[int, Module] = {}  # of weights, by identity
    uses: dict[int, list[int]] = {}  # where each is placed
    for index, (module, _, _) in enumerate(wires, start=start):
        owner = _owner(module)
        owners[id(owner)] = owner
        uses.setdefault(id(owner), []).append(index)
    modules = list(owners.values())
    _check_parts(modules)
    order = {key: group for group, key in enumerate(uses)}
    nodes = [Place(k, names[k], names[k], None, (), None, size) for k, (_, size) in enumerate(inputs)]
    for number, ((module, name, of), unique) in enumerate(zip(wires, names[start:], strict=True), start=1):
        label, group = f"{number} {name}", order[id(_owner(module))]
        nodes.append(Place(len(nodes), unique, label, module, of, group, module.out_size))
    ends = np.cumsum([module.weight_size for module in modules]).tolist()
    parts = zip(_unique([module.label for module in modules]), modules, uses.values(), ends, strict=True)
    groups = [
        Group(name, _label(nodes, places, module), module, slice(end - module.weight_size, end), tuple(places))
        for name, module, places, end in parts
    ]
    return tuple(nodes), tuple(groups)


def _label(nodes: Sequence[Place], uses: Sequence[int], module: Module) -> str:
    """Name a group as its node is named, one of several nodes as its module, with the number of the first."""
    first = nodes[uses[0]].label
    return first if len(uses) == 1 else f"{first.partition(' ')[0]} {module.label}"


def _unique(names: Sequence[str], taken: set[str] | None = None) -> list[str]:
    """Return the names, those that occur more than once with their number in front."""
    counts = Counter(names)
    for name in taken or ():
        counts[name] += 1
    return [name if counts[name] == 1 else f"{number} {name}" for number, name in enumerate(names, start=1)]


def _owner(module: Module) -> Module:
    """Return the module whose weights a module runs on."""
    while module.shares is not None:
        module = module.shares
    return module


def _check_parts(modules: Sequence[Module]) -> None:
    """Refuse weights that a module holds as a part and that are used elsewhere as well: they would not be shared."""
    owners: dict[int, Module] = {}
    for module in modules:
        for part in parts_of(module):
            key = id(_owner(part))
            if part.weight_size and key in owners:
                raise InputError(
                    f"the same {part!r} is used by {owners[key]!r} and again by {module!r}, where its weights "
                    "would not be shared: place both uses on nodes, part(ao.Input(...)), or make two modules"
                )
            owners[key] = module


def parts_of(module: Module) -> list[Module]:
    """Return the module and all modules inside it."""
    return [module, *(inner for part in getattr(module, "parts", ()) for inner in parts_of(part))]


def costs_of(modules: Any, inputs: Any, targets: Any, loss: Any) -> list[Cost]:
    """Return the costs where costs were given, nothing where modules were."""
    alone = isinstance(modules, (Cost, Module, Node)) or not isinstance(modules, Iterable)
    given = [modules] if alone or getattr(modules, "ndim", 1) == 0 else list(modules)
    if node := next((one for one in given if isinstance(one, Node)), None):
        raise InputError(
            f"Problem takes costs on nodes, ao.Cost({node.name}, loss, targets), got the node {node!r} itself"
        )
    costs = [one for one in given if isinstance(one, Cost)]
    if not costs:
        return []
    if len(costs) < len(given):
        other = next(one for one in given if not isinstance(one, Cost))
        raise InputError(f"Problem takes modules or costs, not both; among the costs came {other!r}")
    if not (inputs is None and targets is None and loss is None):
        raise InputError("costs bring their inputs, targets and losses with them: Problem([ao.Cost(...)], mass=...)")
    return costs


def chain_of(modules: Any, inputs: Any, targets: Any, loss: Any) -> Network:
    """Return the network of a list of modules, with its data and its loss.

    Raises
    ------
    InputError
        If sizes do not chain, or data or loss do not fit.
    """
    flat = flatten(check_modules("Problem", [modules] if isinstance(modules, Module) else modules))
    check_sizes(flat)
    if not isinstance(loss, Loss):
        raise InputError(f"loss must be a Loss such as ao.SquaredError(), got {loss!r}")
    data = _inputs(inputs, targets, flat[0])
    return chain(flat, data, loss, loss.prepare(targets, len(data), flat[-1].out_size))


def _inputs(inputs: Any, targets: Any, first: Module) -> np.ndarray:
    if inputs is None:
        if first.in_size:
            raise InputError(f"inputs are None, but the first module {first!r} takes {first.in_size} inputs")
        return np.zeros((1 if targets is None else len(np.atleast_1d(targets)), 0))
    array = as_samples("inputs", inputs)
    if array.shape[1] != first.in_size:
        raise InputError(
            f"inputs must have {first.in_size} columns, what the first module {first!r} takes; got {array.shape[1]}"
        )
    if len(array) == 0:
        raise InputError("inputs must hold at least one sample, got none")
    return array
