"""An SST in ONNX Runtime, from our own export."""

from pathlib import Path

import torch
from torch import Tensor, nn


class OnnxNetwork(nn.Module):
    """A model that `sst.interop.onnx.export_onnx` wrote, on the CPU with as many threads as torch uses.

    Args:
        path (str | Path): the model.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        import onnxruntime  # optional; `obstacle` asks for it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, scale * H, scale * W), both in float32 on the CPU."""
        return torch.from_numpy(self.session.run(['sr'], {'lr': lr.numpy()})[0])
