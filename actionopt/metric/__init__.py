"""The layerwise metric: its recursion, its solvers, and the explicit step."""

from actionopt.metric.batched import METRICS, BatchedMetric
from actionopt.metric.layer_metric import LayerMetric

__all__ = ["METRICS", "BatchedMetric", "LayerMetric"]
