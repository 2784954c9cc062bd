"""The layerwise metric: its recursion, its solvers, and the explicit step."""

from actionopt.metric.batched import BatchedMetric
from actionopt.metric.kinds import METRICS
from actionopt.metric.layer_metric import LayerMetric

__all__ = ["METRICS", "BatchedMetric", "LayerMetric"]
