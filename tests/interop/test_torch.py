"""Networks that PyTorch exports: outputs and gradients are PyTorch's own. Needs torch and onnxscript, or is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
nn = torch.nn

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # torch's exporter warns about itself

BATCH = 6


class Skip(nn.Module):
    """`x + W2 tanh(W1 x)`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(size, 7), nn.Tanh(), nn.Linear(7, size, bias=False))

    def forward(self, x: Any) -> Any:
        return x + self.inner(x)


class Sine(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.sin(x)


NETWORKS = {
    "tanh": lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3)),
    "relu without bias": lambda: nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)),
    "mixed": lambda: nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 5), nn.Sigmoid(), nn.Linear(5, 3)),
    "image": lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 5), Sine(), nn.Dropout(0.5), nn.Linear(5, 3)),
    "skip": lambda: nn.Sequential(nn.Linear(4, 5), Skip(5), nn.ReLU(), Skip(5), nn.Linear(5, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("dynamic", [True, False])
def test_outputs_and_gradients(tmp_path: Path, name: str, dynamo: bool, dynamic: bool) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().double().eval()
    shape = (BATCH, 1, 2, 2) if name == "image" else (BATCH, 4)
    x, labels = torch.randn(*shape, dtype=torch.float64), torch.arange(BATCH) % 3
    path = tmp_path / "net.onnx"
    free = {}
    if dynamic:
        free = {"dynamic_shapes": ({0: "batch"},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
    torch.onnx.export(network, (x,), path, dynamo=dynamo, input_names=["x"], verbose=False, **free)

    flat = x.reshape(BATCH, -1).numpy()
    problem = ao.Problem.from_onnx(path, flat, labels.numpy(), ao.SoftmaxCrossEntropy())
    w = problem.initial_weights()
    outputs = network(x)
    np.testing.assert_allclose(problem.outputs(w), outputs.detach().numpy(), rtol=0, atol=1e-14)
    loss = torch.nn.functional.cross_entropy(outputs, labels)
    loss.backward()
    assert problem.energy(w) == pytest.approx(loss.item(), rel=1e-14)
    gradient = np.concatenate([p.grad.numpy().ravel() for p in network.parameters()])
    np.testing.assert_allclose(problem.gradient(w), gradient, rtol=0, atol=1e-15)
