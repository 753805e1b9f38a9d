"""SST as an ONNX model, for onnxruntime and what is built on it: pictures of any size, any number at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from sst.archs import SST
from sst.archs.sst_arch import Layer, WindowAttention
from sst.interop.pretrained import architecture, with_state
from sst.ops import Factored
from sst.ops.windows import merge, partition
from sst.utils.files import write_whole
from sst.utils.json_text import json_text
from sst.utils.optional import require

OPSET = 18
EXAMPLE = (2, 3, 19, 23)  # of no special size: no side is a multiple of a window


def export_onnx(net: SST, path: str | Path, opset: int = OPSET) -> None:
    """Write a network as an ONNX model with the input `lr` and the output `sr`.

    `lr` is (batch, 3, height, width), RGB in [0, 1], float32, any size of at least 1x1; `sr` is (batch, 3, scale *
    height, scale * width), not clipped. The file's properties tell `scale` and `network_g`. The logits of all windows
    of a layer are in memory at once: 4 * heads * w^4 bytes for each window of w x w pixels.

    Args:
        net (SST): on any device; it is left as it is.
        path (str | Path): the file; weights lie in it, so that it is one file.
        opset (int): version of ONNX's operators, at least 18.

    Raises:
        UserError: onnx or onnxscript is not installed; or the file cannot be written.
        ValueError: an opset that is too old.
    """
    if opset < OPSET:
        raise ValueError(f'opset {opset}: at least {OPSET} is needed')
    for package, part in (('onnx', 'save'), ('onnxscript', 'opset18')):  # torch's exporter needs the second
        require(package, part, 'onnx', f'{path}: ONNX export')
    import onnx

    plain = exportable(net)
    dim = torch.export.Dim
    sizes = {0: dim('batch', min=1), 2: dim('height', min=1), 3: dim('width', min=1)}
    with _quiet():
        program = torch.onnx.export(
            plain,
            (torch.rand(EXAMPLE),),
            input_names=['lr'],
            output_names=['sr'],
            dynamic_shapes={'lr': sizes},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None, 'dynamo=True gives a program'
    model = program.model_proto
    texts = {'scale': str(net.scale), 'network_g': json_text(architecture(net))}
    onnx.helper.set_model_props(model, texts)
    content = model.SerializeToString()
    write_whole(Path(path), lambda file: file.write(content), advice='make room or correct the rights')


def exportable(net: SST) -> nn.Module:
    """A copy of the network, float32 on the CPU, whose attention is plain operators for windows of any number."""
    state = {name: value.float().cpu() for name, value in net.state_dict().items()}
    plain = with_state(net.options, state).requires_grad_(False)
    for layer in plain.modules():
        if isinstance(layer, Layer):
            layer.attn = PlainAttention(layer.attn)  # type: ignore[assignment]  # of the same interface
    return plain


class PlainAttention(nn.Module):
    """`WindowAttention` without the door: no backend is asked for, and no size is known beforehand.

    A factored term stays two factors, joined to q and k; RIB's are computed from its weights when a session starts, so
    that the file stays small. As (heads, N, N) tables they would fill the memory.
    """

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.window, self.num_heads, self.shift = attention.window, attention.num_heads, attention.shift
        self.qkv, self.gate, self.proj = attention.qkv, attention.gate, attention.proj
        self.bias = attention.bias

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        padded = extended(self.qkv(x), self.window)
        rows, columns = padded.shape[1:3]
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), dims=(1, 2))
        tokens = partition(padded, self.window).unflatten(-1, (3, self.num_heads, -1))
        out = merge(self._attended(tokens), self.window, rows, columns)
        if self.shift:
            out = out.roll((self.shift, self.shift), dims=(1, 2))
        out = out[:, :height, :width]
        gate = self.gate(x)
        return self.proj(out if gate is None else out * gate)

    def _attended(self, tokens: Tensor) -> Tensor:
        """(M, N, 3, heads, d) to (M, N, C): Eq. 4-6."""
        q, k, v = tokens.unbind(2)
        rotation, term = self.bias.rotation(), self.bias.term()
        if rotation is not None:
            q, k = rotation.apply(q), rotation.apply(k)
        q, k, v = (t.transpose(1, 2) for t in (q * q.shape[-1] ** -0.5, k, v))  # (M, heads, N, d)
        if isinstance(term, Factored):
            windows = q.shape[0]
            q = torch.cat((q, term.q.expand(windows, -1, -1, -1)), dim=-1)
            k = torch.cat((k, term.k.expand(windows, -1, -1, -1)), dim=-1)
        logits = q @ k.transpose(-1, -2)
        if term is not None and not isinstance(term, Factored):
            logits = logits + term.materialize()
        return (logits.softmax(-1) @ v).transpose(1, 2).flatten(-2)


def extended(x: Tensor, window: int) -> Tensor:
    """`sst.ops.windows.pad_to_multiple` for sizes that are known when the model runs.

    Nothing negative is divided, which ONNX rounds towards zero, and the period is a tensor: of a number the exporter
    would drop that it is at least 1, and one row has a period of 0.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        target = (size + window - 1) // window * window
        period = torch.full((1,), 2 * (size - 1), device=x.device).clamp(min=1)
        position = torch.arange(target, device=x.device) % period
        x = x.index_select(axis, torch.minimum(position, period - position).clamp(max=size - 1))
    return x


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its steps, and of packages that it could use."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
