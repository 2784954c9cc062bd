"""Riemannian optimization in modular systems: training as a constrained problem, gradient flow as minimum action."""

from actionopt import startup as startup  # before what takes long to load

# isort: split
from actionopt.action.continuation import continue_action
from actionopt.action.draw_landscape import plot_landscape
from actionopt.action.draw_phase import plot_phase
from actionopt.action.ensemble.ensemble import Ensemble
from actionopt.action.flow import flow
from actionopt.action.inertial import Inertial
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.action.minimize import minimize_action
from actionopt.action.trajectory import Trajectory
from actionopt.action.waypoints import path_through
from actionopt.backprop import Adjoints, adjoints
from actionopt.constrained import (
    AdjointCheck,
    Ball,
    Constraint,
    Positive,
    Simplex,
    Solution,
    Stiefel,
    check_adjoints,
    control,
    plot_adjoints,
    proximal_step,
    train,
)
from actionopt.contraction.bounds import paper_stability_order, stability_bound
from actionopt.contraction.certify import Certificate, certify
from actionopt.contraction.compose import ComposedRate, feedback_rate, network_rate, parallel_rate, series_rate
from actionopt.contraction.decay import Decay, check_decay
from actionopt.contraction.lipschitz import Lipschitz, estimate_lipschitz
from actionopt.contraction.proof.ball import ContractionProof, prove_contraction
from actionopt.contraction.proof.fit import FitProof, prove_fit
from actionopt.contraction.proof.lipschitz import LipschitzBounds, bound_lipschitz
from actionopt.contraction.proof.stability import StabilityProof, prove_stability
from actionopt.contraction.proof.tube import TubeProof, prove_basin
from actionopt.contraction.rate import Contraction, contraction_at, contraction_rate, rates_along
from actionopt.contraction.stability import measure_stability
from actionopt.contraction.stability_result import Stability
from actionopt.contraction.worst import WorstRate, worst_rate
from actionopt.descent import Descent, descend
from actionopt.errors import InputError, SolverError
from actionopt.loading import load_problem
from actionopt.losses import CustomLoss, Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.layer_metric import LayerMetric
from actionopt.metric.step import Momentum, step
from actionopt.modules import (
    Activation,
    Attention,
    AveragePool2d,
    Chain,
    Conv2d,
    Dense,
    Each,
    Embedding,
    Implicit,
    LayerNorm,
    Map,
    Module,
    Node,
    Parallel,
    Parameter,
    Residual,
    Transposed,
)
from actionopt.nodes import Cost, Input
from actionopt.paths.least_action import least_action_path
from actionopt.paths.quasipotential import Quasipotential, quasipotential
from actionopt.paths.rate import eyring_kramers_rate
from actionopt.paths.result import GeometricPath
from actionopt.problem import Problem
from actionopt.shards.shards import Shards
from actionopt.sweeps.sweep import sweep
from actionopt.sweeps.table import SweepTable
from actionopt.weighted import WeightedLoss

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "AdjointCheck",
    "Adjoints",
    "Attention",
    "AveragePool2d",
    "Ball",
    "BatchedMetric",
    "Certificate",
    "Chain",
    "ComposedRate",
    "Constraint",
    "Contraction",
    "ContractionProof",
    "Conv2d",
    "Cost",
    "CustomLoss",
    "Decay",
    "Dense",
    "Descent",
    "Drift",
    "Each",
    "Embedding",
    "Ensemble",
    "FitProof",
    "GeometricPath",
    "Implicit",
    "Inertial",
    "Input",
    "InputError",
    "Lagrangian",
    "LayerMetric",
    "LayerNorm",
    "Lipschitz",
    "LipschitzBounds",
    "Logistic",
    "Loss",
    "Map",
    "Module",
    "Momentum",
    "Node",
    "Parallel",
    "Parameter",
    "Positive",
    "Problem",
    "Quasipotential",
    "Residual",
    "Shards",
    "Simplex",
    "SoftmaxCrossEntropy",
    "Solution",
    "SolverError",
    "SquaredError",
    "Stability",
    "StabilityProof",
    "Stiefel",
    "SweepTable",
    "Trajectory",
    "Transposed",
    "TubeProof",
    "WeightedLoss",
    "WorstRate",
    "adjoints",
    "bound_lipschitz",
    "certify",
    "check_adjoints",
    "check_decay",
    "continue_action",
    "contraction_at",
    "contraction_rate",
    "control",
    "descend",
    "estimate_lipschitz",
    "eyring_kramers_rate",
    "feedback_rate",
    "flow",
    "least_action_path",
    "load_problem",
    "measure_stability",
    "minimize_action",
    "network_rate",
    "paper_stability_order",
    "parallel_rate",
    "path_through",
    "plot_adjoints",
    "plot_landscape",
    "plot_phase",
    "prove_basin",
    "prove_contraction",
    "prove_fit",
    "prove_stability",
    "proximal_step",
    "quasipotential",
    "rates_along",
    "series_rate",
    "stability_bound",
    "step",
    "sweep",
    "train",
    "worst_rate",
]
