"""The problem: a network of modules, data, costs and a metric."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from actionopt import wiring
from actionopt.arrays import real_array
from actionopt.backprop import gradient_of
from actionopt.dry_run import dry_run
from actionopt.errors import InputError, check_name, is_name, unknown_name
from actionopt.interop import onnx_parts, read_sklearn
from actionopt.losses import Loss
from actionopt.modules.base import Module, positive
from actionopt.network import Group, Network, Place, Term
from actionopt.nodes import Cost
from actionopt.ops import NUMPY
from actionopt.origin import Rebuilt
from actionopt.stacking import stacked, with_data
from actionopt.tables import html_table
from actionopt.weighted import weigh

P = ParamSpec("P")
R = TypeVar("R")
OUTPUT_METRICS = ("fisher", "euclidean")


class Problem(Rebuilt):
    """Train a network of modules: `E(w) = sum_j weight_j 1/B sum_b loss_j(z_j,b, y_j,b) + weight_decay/2 |w|^2`.

    Parameters
    ----------
    modules : Module, sequence of Module, Cost or sequence of Cost
        A chain, first module first, chains inside it resolved; or the costs of a network, on nodes that modules gave
        where they were called on `ao.Input`. A module that stands twice shares its weights.
    inputs : array (B, in_size) or (B,), or None
        Samples of a chain; None where the first module takes no input (`Parameter`), and for costs.
    targets : array (B, ...) or None
        What the loss compares with: `(B, out_size)`, or integer labels `(B,)` for cross-entropy. None where the
        loss needs no target, and for costs.
    loss : Loss
        Energy of one sample; None for costs.
    mass : float, array (n,) or sequence with one entry a group of weights
        Diagonal D of the metric, positive. It has the scale of the mean loss: its meaning does not change with B.
        Without shared weights a group is a module.
    output_metric : "fisher", "euclidean", None or callable
        Metric on the outputs that the layerwise metric pulls back: the Hessian of the loss in the output, the
        identity, or none, so that the metric is the mass alone. A callable `factor(ops, outputs, targets)`
        returns the m rows of L_o, `g_o = L_o^T L_o`, as a list of arrays `(..., B, out_size)`. Where no derivatives of
        the metric are needed, `factor(outputs)` or `factor(outputs, targets)` on NumPy will do, which returns factors
        `(..., B, m, out_size)`, or one `(m, out_size)` for all samples.
    weight_decay : float
        Coefficient rho >= 0.
    sample_weight : array (B,), optional
        How much each sample counts, scaled to mean one: `1/B sum_b s_b loss_b`. Costs take their own. Entries of
        targets that a masked array (`numpy.ma`) masks count nothing.
    name : str, optional
        Name in tables, figures and messages.

    Attributes
    ----------
    network : Network
        Nodes in order, groups of weights, costs and data.
    nodes : tuple of Place
        In topological order, data first: `.name`, `.module`, `.of` (indices of the nodes it takes).
    groups : tuple of Group
        Weights in the order of the flat vector: `.name`, `.module`, `.slice`, `.uses`.
    costs : tuple of Term
        `.node` (an index), `.loss`, `.weight`.
    modules : tuple of Module
        One a node that runs a module.
    inputs, targets, loss : as given (inputs as a float matrix); tuples for several inputs or costs
    size : int
        Number of weights n.
    samples : int
        Number of samples B.
    target_array : array (B, t), or a tuple of them for several costs
        Targets as the loss takes them (labels one-hot).
    mass : array (n,)
        Diagonal of the metric.

    Raises
    ------
    InputError
        If sizes do not chain, data do not fit or are not finite, nodes run in a circle or lead to no cost, or an
        option is out of range.

    Examples
    --------
    >>> line = ao.Problem(ao.Dense(1, 1), [0.0, 1.0, 2.0], [1.0, 3.0, 5.0], ao.SquaredError(), mass=0.1)
    >>> line.size, line.samples
    (2, 3)
    >>> [round(float(value), 6) for value in ao.train(line).weights]
    [2.0, 1.0]
    """

    sampling: Callable[[np.ndarray], np.ndarray] | None = None  # of rows of the output metric's factor

    def __init__(
        self,
        modules: Module | Cost | Iterable[Module] | Iterable[Cost],
        inputs: Any = None,
        targets: Any = None,
        loss: Loss | None = None,
        *,
        mass: Any = 1.0,
        output_metric: str | Callable[..., Any] | None = "fisher",
        weight_decay: float = 0.0,
        sample_weight: Any = None,
        name: str | None = None,
    ) -> None:
        if output_metric is not None and not callable(output_metric) and not is_name(output_metric, OUTPUT_METRICS):
            raise unknown_name("output_metric", output_metric, OUTPUT_METRICS)
        check_name("Problem", name)
        self.name = name or "problem"
        self.output_metric = output_metric
        self.weight_decay = _weight_decay(weight_decay)
        modules = tuple(modules) if isinstance(modules, Iterator) else modules
        if costs := wiring.costs_of(modules, inputs, targets, loss):
            if sample_weight is not None:
                raise InputError("costs bring their own weights: ao.Cost(node, loss, targets, sample_weight=...)")
            self.network = wiring.network_of(costs)
            self.targets = costs[0].targets if len(costs) == 1 else tuple(cost.targets for cost in costs)
        else:
            loss, targets = weigh(loss, targets, sample_weight)
            self.network = wiring.chain_of(modules, inputs, targets, loss)
            self.targets = targets
        self.size = self.network.size
        self.mass = _mass(mass, self)
        dry_run(self.network, np.stack([self.initial_weights(seed) for seed in (0, 1)]))

    @classmethod
    def from_onnx(cls, path: str | Path, inputs: Any, targets: Any, loss: Any, **options: Any) -> Problem:
        """Read a network from an ONNX file, as `torch.onnx.export` writes it.

        `initial_weights` are the file's, in float64, whatever the seed. A chain of layers is read as a list of modules,
        anything else as nodes; layers made of the same constants share their weights.

        Parameters
        ----------
        path : str or Path
            A model out of Gemm, MatMul, arithmetic with constants, which becomes part of the layer beside it, Conv,
            AveragePool, GlobalAveragePool, LayerNormalization, Tanh, Relu, LeakyRelu, Elu, Sigmoid, Softplus, Sin, Exp,
            nodes that only arrange (Flatten, Reshape, Transpose, Identity, Cast, Dropout), and branches that meet in
            Add, Sub, Mul, Sum or Concat.
        inputs : array (B, in_size), or a mapping or sequence of them for a model of several inputs
            Samples first, also where the file has features first; images flattened row by row.
        targets, loss
            As `Problem` takes them; for a model of several outputs mappings by the outputs' names, whose costs are
            added up (an output left out carries none), or sequences in their order. The losses for classes take logits:
            export without the last softmax or sigmoid.
        **options
            Further options of `Problem`.

        Raises
        ------
        InputError
            If the package onnx is missing, the file is no valid model, or a node is not supported: it is named.
        """
        return cls(*onnx_parts(path, inputs, targets, loss), **{"name": Path(path).stem, **options})

    @classmethod
    def from_sklearn(cls, estimator: Any, X: Any, y: Any, **options: Any) -> Problem:
        """Continue from a fitted MLPRegressor or MLPClassifier of scikit-learn.

        `initial_weights` are the fitted ones, whatever the seed. `outputs` are logits: `predict_proba` is their
        softmax (more than two classes) or sigmoid (two classes, or several labels a sample); of a regression they are
        `predict`, or its logarithm for the Poisson loss.

        Parameters
        ----------
        estimator : MLPRegressor or MLPClassifier
            Fitted. Of a pipeline pass the last step, and X transformed by those before.
        X : array (B, features)
        y : array (B,) or (B, k)
            Targets, or labels the estimator was fitted on; `problem.targets` holds class numbers.
        **options
            Further options of `Problem`, `sample_weight` as in `fit` among them. `weight_decay` is `alpha/B` unless
            given, `alpha` over the sum of the weights where there are any.

        Notes
        -----
        The energy is the function whose gradient scikit-learn follows on a batch of all B samples, with two
        differences: scikit-learn does not decay intercepts, so the gradients differ by `alpha/B` times the offsets;
        and its reported loss divides the squared error by the number of outputs as well, which its gradient does not.

        Raises
        ------
        InputError
            If the estimator is another one or is not fitted, or a label is unknown to it.
        """
        parts = read_sklearn(estimator, y)
        decay = parts.weight_decay
        if options.get("sample_weight") is not None:  # scikit-learn divides alpha by the sum of the weights
            decay /= float(np.mean(real_array("sample_weight", options["sample_weight"])))
        defaults = {"weight_decay": decay, "name": type(estimator).__name__}
        return cls(parts.modules, X, parts.targets, parts.loss, **{**defaults, **options})

    def __repr__(self) -> str:
        losses = " and ".join(dict.fromkeys(term.loss.name for term in self.costs))
        sizes = f"{len(self.modules)} modules, {self.size} weights, {self.samples} samples"
        return f"Problem({self.name!r}: {sizes}, {losses})"

    has_energy = True

    @property
    def numbers(self) -> int:
        """How many numbers the widest array of an evaluation at one point holds."""
        return self.samples * max(place.size for place in self.nodes)

    def _repr_html_(self) -> str:
        weights = [group.module.weight_size for group in self.groups]
        rows = [(group.name, repr(group.module), count) for group, count in zip(self.groups, weights, strict=True)]
        return html_table(("weights", "module", "number"), rows, caption=repr(self))

    @property
    def nodes(self) -> tuple[Place, ...]:
        """The nodes in topological order, those that hold data first."""
        return self.network.nodes

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of weights, in the order of the flat vector."""
        return self.network.groups

    @property
    def costs(self) -> tuple[Term, ...]:
        """The costs."""
        return self.network.costs

    @property
    def samples(self) -> int:
        """Number of samples B."""
        return self.network.samples

    @property
    def inputs(self) -> Any:
        """The samples `(B, d)`; a tuple where several nodes hold data."""
        return _single(self.network.data)

    @property
    def target_array(self) -> Any:
        """Targets `(B, t)` as the loss takes them; a tuple for several costs."""
        return _single(self.network.targets)

    @property
    def loss(self) -> Any:
        """The loss; a tuple for several costs."""
        return _single(tuple(term.loss for term in self.costs))

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """The module of every node that runs one, in order."""
        return tuple(place.module for place in self.network.placed if place.module is not None)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the weights of each group lie in the flat vector."""
        return tuple(group.slice for group in self.groups)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A name for every node that runs a module, with its place in the order, as tables show it."""
        return tuple(place.label for place in self.network.placed)

    @property
    def stacked(self) -> Network:
        """The network with runs of equal modules as one node, `stacking.stacked`; the network itself without any."""
        of, held = vars(self).get("_stacked", (None, None))
        if of is not self.network:
            held = stacked(self.network) if of is None else with_data(of, held, self.network)
            vars(self)["_stacked"] = (self.network, held)
        return held

    def take(self, samples: Any) -> Problem:
        """Return the problem on some of its samples, with the same network, losses and metric; nothing is checked anew.

        Parameters
        ----------
        samples : slice, or array of indices or booleans
            At least one sample.

        Raises
        ------
        InputError
            If there is no such sample, or none is taken.
        """
        taken = object.__new__(Problem)
        try:
            vars(taken).update(vars(self), network=self.network.take(samples), targets=_of(self.targets, samples))
        except (IndexError, TypeError) as error:
            raise InputError(f"take: no such samples, {error}; the problem has {self.samples}") from None
        if not taken.samples or not (isinstance(samples, slice) or np.ndim(samples) == 1):
            raise InputError(
                f"take needs a slice or a vector of at least one of {self.samples} samples, got {samples!r}"
            )
        return taken

    def with_samples(self, data: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> Problem:
        """Return the problem on other samples, as its network holds them (`network.data`, `network.targets`)."""
        other = object.__new__(Problem)
        vars(other).update(vars(self), network=self.network.with_samples(data, targets))
        vars(other)["targets"] = _single(tuple(targets))
        return other

    def initial_weights(self, seed: int = 0) -> np.ndarray:
        """Draw starting weights `(n,)`, group by group, from one generator with this seed, a whole number >= 0."""
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
            raise InputError(f"seed must be a whole number >= 0, got {seed!r}")
        rng = np.random.default_rng(seed)
        return np.concatenate([_drawn(group.module, rng) for group in self.groups])

    def unflatten(self, w: Any) -> list[np.ndarray]:
        """Split weights `(..., n)` into one piece `(..., n_a)` a group."""
        w = self.check_weights(w)
        return [w[..., piece] for piece in self.slices]

    def check_weights(self, w: Any, what: str = "weights") -> np.ndarray:
        """Return `w` as a finite float array `(..., n)`.

        Raises
        ------
        InputError
            If the last axis is not n long, or a number is not finite.
        """
        array = real_array(what, w, f"{self.size} numbers")
        if array.ndim == 0 or array.shape[-1] != self.size:
            raise InputError(f"{what} must have length {self.size}, got shape {array.shape}")
        if not np.isfinite(array).all():
            raise InputError(f"{what} must be finite, got {array[~np.isfinite(array)][0]}")
        return array

    def check_point(self, w: Any, what: str = "weights") -> np.ndarray:
        """Return `w` as a finite float array `(n,)`, one point.

        Raises
        ------
        InputError
            As `check_weights`, or if it has more axes.
        """
        array = self.check_weights(w, what)
        if array.ndim != 1:
            raise InputError(f"{what} must be one point ({self.size},), got shape {array.shape}")
        return array

    def outputs(self, w: Any, node: Any = None) -> Any:
        """Evaluate the network at weights `(..., n)`.

        Parameters
        ----------
        w : array (..., n)
        node : Node, str or Module, optional
            Which node's state is wanted, as it was written down or by name.

        Returns
        -------
        array (..., B, d)
            The state of `node`; where None of the node that carries the cost, for several a tuple, in the order of the
            costs.
        """
        states = self.network.forward(NUMPY, self.unflatten(w))
        if node is not None:
            return states[self.network.index(node)]
        return _single(tuple(states[k] for k in dict.fromkeys(term.node for term in self.costs)))

    def energy(self, w: Any) -> Any:
        """Return E(w): a float for weights `(n,)`, an array `(...)` for `(..., n)`."""
        w = self.check_weights(w)
        losses = self.network.values(NUMPY, self.network.forward(NUMPY, self.network.split(NUMPY, w)))
        energy = losses.mean(axis=-1) + 0.5 * self.weight_decay * (w * w).sum(axis=-1)
        return float(energy) if w.ndim == 1 else energy

    def gradient(self, w: Any) -> np.ndarray:
        """Return dE/dw, of the shape of `w (..., n)`, by backpropagation."""
        return gradient_of(self, self.check_weights(w))


def check_problem(owner: str, what: Any) -> None:
    """Raise InputError, in the name of a function or class, unless it got a Problem."""
    if not isinstance(what, Problem):
        hint = "; minimize_action takes it" if hasattr(what, "formula") and hasattr(what, "size") else ""
        raise InputError(f"{owner} takes a Problem, got {type(what).__name__}{hint}")


def takes_problem(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function whose first argument is a problem say so where it gets something else."""

    @wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> R:
        given = args[0] if args else options.get("problem")
        if args or "problem" in options:
            check_problem(function.__name__, given)
        return function(*args, **options)

    return checked


def _single(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else values


def _of(targets: Any, samples: Any) -> Any:
    if targets is None:
        return None
    return tuple(_of(one, samples) for one in targets) if type(targets) is tuple else np.asarray(targets)[samples]


def _weight_decay(value: Any) -> float:
    if not (isinstance(value, numbers.Real) and 0 <= float(value) < np.inf):
        raise InputError(f"weight_decay must be a finite number >= 0, got {value!r}")
    return float(value)


def _mass(mass: Any, problem: Problem) -> np.ndarray:
    """Resolve the masses of problem and modules to one vector `(n,)`."""
    groups = problem.groups
    if isinstance(mass, (list, tuple)) and len(mass) == len(groups) != problem.size:
        default = np.concatenate(
            [
                positive(f"mass of module {group.label}", entry, group.size)
                for group, entry in zip(groups, mass, strict=True)
            ]
        )
    else:
        default = positive("mass", mass, problem.size, f" (or a list of {len(groups)}, one entry a module)")
    return np.concatenate([group.module.mass_vector(default[group.slice]) for group in groups])


def _drawn(module: Module, rng: np.random.Generator) -> np.ndarray:
    weights = np.asarray(module.initial_weights(rng), dtype=float)
    if weights.shape != (module.weight_size,):
        raise InputError(
            f"{module.label}: initial_weights must return {module.weight_size} numbers, got shape {weights.shape}"
        )
    return weights
