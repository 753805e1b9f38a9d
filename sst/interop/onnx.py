"""Exports networks as ONNX models for images of any size, in batches of any size."""

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sst.archs import SST, SSTReal, WindowAttention, WindowNetwork
from sst.checkpoints.networks import options_of, with_state
from sst.inference import probe_network, required_multiple
from sst.ops import Factored, norm_linear
from sst.ops.windows import map_windows
from sst.utils.errors import UserError
from sst.utils.files import one_line, write_whole
from sst.utils.json_text import json_text
from sst.utils.optional import require

OPSET = 18
EXAMPLE = (2, 3, 19, 23)  # no side is a multiple of a window
PROOF = (1, 3, 37, 26)  # another size, at which the models of other networks are compared with them
TOLERANCE = 1e-3


def export_onnx(net: nn.Module, path: str | Path, opset: int = OPSET) -> int:
    """Write a network as an ONNX model with the input `lr` and the output `sr`.

    `lr` is (batch, 3, height, width), RGB in [0, 1], float32, any size of at least 1x1; `sr` is (batch, 3, scale *
    height, scale * width), not clipped. The file's properties contain `scale` and `network_g`. The logits of all
    windows of a layer are in memory at once: 4 * heads * w^4 bytes for each window of w x w pixels.

    For networks other than SST `batch` is 1, and the model is compared with the network at another size, because some
    networks compute with sizes as plain numbers, and PyTorch silently writes these into the model.

    Args:
        net (nn.Module): an SST or any other network from RGB to RGB, on any device; it is not changed.
        path (str | Path): the file, which also contains the weights.
        opset (int): version of ONNX's operators, at least 18.

    Returns:
        int: the network's scale.

    Raises:
        UserError: the opset is too old, a package of the extra `onnx` is not installed, the network cannot be exported
            for any size, or the file cannot be written.
    """
    if opset < OPSET:
        raise UserError(f'opset {opset}: must be at least {OPSET}')
    require_packages(f'{path}: ONNX export')
    import onnx

    plain, scale = exportable(net)
    try:
        model = _model(plain, opset, batches=isinstance(net, SST))
        difference = 0.0 if isinstance(net, SST) else _difference(plain, model.SerializeToString())
        reason = f'at {PROOF[3]}x{PROOF[2]} pixels its model differs by {difference:.2g}'
    except Exception as fault:  # the exporter's errors have no common base class
        difference, reason = math.inf, one_line(fault.__cause__ or fault)
    if difference > TOLERANCE:
        raise UserError(f'{path}: {type(net).__name__} cannot be exported for images of any size: {reason}')
    texts = {'scale': str(scale), 'network_g': json_text(options_of(net) or {})}
    onnx.helper.set_model_props(model, texts)
    content = model.SerializeToString()
    write_whole(Path(path), lambda file: file.write(content), advice='free some space or correct the rights')
    return scale


def require_packages(purpose: str) -> None:
    """Raise UserError where a package of the extra `onnx` cannot be used; `purpose` is what needs it."""
    # torch's exporter needs the second
    for package, part in (('onnx', 'save'), ('onnxscript', 'opset18'), ('onnxruntime', 'InferenceSession')):
        require(package, part, 'onnx', purpose)


def _model(net: nn.Module, opset: int, batches: bool) -> Any:
    """The ONNX model of an exportable network, for images of any size and, with `batches`, batches of any size."""
    batch, channels, height, width = EXAMPLE
    # With one image, one window would be taken for a fixed number.
    further = 0 if batches else max(getattr(net, 'multiple', 0), *getattr(net, 'windows', ()), 0)
    example = torch.rand(batch if batches else 1, channels, height + further, width + further)
    dim = torch.export.Dim
    sizes = {2: dim('height', min=1), 3: dim('width', min=1)} | ({0: dim('batch', min=1)} if batches else {})
    program = torch.onnx.export(
        net,
        (example,),
        input_names=['lr'],
        output_names=['sr'],
        dynamic_shapes={'lr': sizes},
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None, 'dynamo=True gives a program'
    return program.model_proto


def _difference(net: nn.Module, content: bytes) -> float:
    """The largest difference between the results of a network and of its ONNX model."""
    import onnxruntime

    lr = torch.rand(PROOF)
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    sr = torch.from_numpy(session.run(['sr'], {'lr': lr.numpy()})[0])
    with torch.no_grad():
        expected = net(lr)
    return float((sr - expected).abs().max()) if sr.shape == expected.shape else math.inf


def exportable(net: nn.Module) -> tuple[nn.Module, int]:
    """A copy of the network, in float32 on the CPU, that accepts any size and uses plain operators; and its scale."""
    if isinstance(net, WindowNetwork):
        copy = with_state(net.options, {name: value.float().cpu() for name, value in net.state_dict().items()})
        for layer in list(copy.modules()):
            if isinstance(getattr(layer, 'attn', None), WindowAttention):
                layer.attn = PlainAttention(layer.attn)  # type: ignore[arg-type]  # of the same interface
        copy.requires_grad_(False)
        if (multiple := required_multiple(net.options)) == 1:
            return copy, net.scale
        return Cropped(copy, net.scale, multiple).eval(), net.scale
    if isinstance(net, SSTReal):
        raise UserError('SSTReal: has no ONNX model, because it starts from noise; use sst-upscale or sst.load_model')
    copy = deepcopy(net).float().cpu().eval().requires_grad_(False)
    properties = probe_network(copy, torch.device('cpu'), required_multiple(options_of(net) or {}))
    return Cropped(copy, properties.scale, properties.multiple).eval(), properties.scale


class Cropped(nn.Module):
    """Extends images to multiples of `multiple` pixels before a network, and crops the result."""

    def __init__(self, net: nn.Module, scale: int, multiple: int) -> None:
        super().__init__()
        self.net, self.scale, self.multiple = net, scale, multiple

    def forward(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[2:]
        image = extended(lr, self.multiple, (2, 3)) if self.multiple > 1 else lr
        return self.net(image)[..., : self.scale * height, : self.scale * width]


class PlainAttention(nn.Module):
    """`WindowAttention` by plain operators, without a backend, for sizes that are not known in advance.

    The two factors of a term are concatenated to q and k, because a (heads, N, N) table would need much memory. RIB's
    factors are computed from its weights when a session starts, so that the file stays small.
    """

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.window, self.num_heads, self.shift = attention.window, attention.num_heads, attention.shift
        self.qkv, self.gate, self.proj = attention.qkv, attention.gate, attention.proj
        self.bias = attention.bias

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        out = map_windows(self._attended, self.qkv(x), self.window, self.shift, pad=extended)
        gate = self.gate(x)
        return norm_linear(out if gate is None else out * gate, None, self.proj, skip=skip)

    def _attended(self, tokens: Tensor) -> Tensor:
        """(M, N, 3C) to (M, N, C): Eq. 4-6."""
        q, k, v = tokens.unflatten(-1, (3, self.num_heads, -1)).unbind(2)
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


def extended(x: Tensor, multiple: int, axes: tuple[int, int] = (1, 2)) -> Tensor:
    """`sst.ops.windows.pad_to_multiple` for sizes that are known only when the model runs.

    Nothing negative is divided, because ONNX rounds it towards zero. The period is a tensor, because the exporter does
    not keep that a plain number is at least 1, and one row has a period of 0.
    """
    for axis in axes:
        size = x.shape[axis]
        target = (size + multiple - 1) // multiple * multiple
        period = torch.full((1,), 2 * (size - 1), device=x.device).clamp(min=1)
        position = torch.arange(target, device=x.device) % period
        x = x.index_select(axis, torch.minimum(position, period - position).clamp(max=size - 1))
    return x
