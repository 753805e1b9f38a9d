"""IPG: attention along the edges of graphs, in which pixels with more detail have more neighbours."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.ops.windows import merge, pad_to_multiple, partition
from sst.rivals.parts import ChannelAttention, ConvFFN, init_weights, strided, unstrided
from sst.rivals.shell import Group, Shell, Tail

SIZES: dict[str, dict[str, Any]] = {
    'IPG': {
        'embed_dim': 180,
        'depths': [6] * 6,
        'num_heads': [6] * 6,
        'window_size': 16,
        'sample_size': 32,
        'top_k': 256,
        'mlp_ratio': 4.0,
        'upsampler': 'pixelshuffle',
    },
}
MOST_LOGITS = 2**26  # that stand in memory at once
BISECTIONS = 8  # of the threshold of an edge
GREATEST_SCALE = 4.6052  # log(100), of the logits
Spec = Literal['GN', 'GS']


class Local:
    """Queries: windows of w x w pixels. Samples of a window: the s x s pixels around its centre, 0 beyond the map."""

    def __init__(self, height: int, width: int, window: int, samples: int) -> None:
        self.height, self.width, self.window, self.side = height, width, window, samples

    def queries(self, x: Tensor) -> Tensor:
        """A map (B, H, W, C) to (groups, w^2, C)."""
        return partition(x, self.window)

    def restored(self, y: Tensor) -> Tensor:
        """The inverse of `queries`."""
        return merge(y, self.window, self.height, self.width)

    def samples(self, x: Tensor, step: int) -> Iterator[Tensor]:
        """The samples of `step` groups at a time, (step, s^2, C), of a map (B, H, W, C)."""
        beyond = (self.side - self.window) // 2
        padded = F.pad(x, (0, 0, beyond, beyond, beyond, beyond))
        cut = padded.unfold(1, self.side, self.window).unfold(2, self.side, self.window)  # (B, rows, columns, C, s, s)
        batch, rows, columns = cut.shape[:3]
        for group in torch.arange(batch * rows * columns, device=x.device).split(step):
            image, place = group // (rows * columns), group % (rows * columns)
            yield cut[image, place // columns, place % columns].flatten(2).mT


class Global:
    """Queries and samples: w x w and s x s pixels, spread over the whole map."""

    def __init__(self, height: int, width: int, window: int, samples: int) -> None:
        self.height, self.width, self.window, self.side = height, width, window, samples

    def queries(self, x: Tensor) -> Tensor:
        """A map (B, H, W, C) to (groups, w^2, C)."""
        return strided(x, self.window, self.window)

    def restored(self, y: Tensor) -> Tensor:
        """The inverse of `queries`."""
        return unstrided(y, self.window, self.window, self.height, self.width)

    def samples(self, x: Tensor, step: int) -> Iterator[Tensor]:
        """The samples of `step` groups at a time, (step, s^2, C), of a map (B, H, W, C).

        The group of queries with offset (y, x) takes the samples with offset (y mod H/s, x mod W/s).
        """
        cut = strided(x, self.side, self.side)
        offsets = [torch.arange(size // self.window, device=x.device) for size in (self.height, self.width)]
        rows, columns = self.height // self.side, self.width // self.side
        one = (offsets[0][:, None] % rows * columns + offsets[1] % columns).flatten()
        images = torch.arange(len(x), device=x.device)[:, None] * (rows * columns)
        for group in (images + one).flatten().split(step):
            yield cut[group]


Sampling = Local | Global


def detail(x: Tensor, scale: float) -> Tensor:
    """How much a map (B, H, W, C) loses at half its size, summed over channels: (B, H, W, 1).

    Unless `scale` is 0, the distance to the mean over the image is divided by it.
    """
    image = x.permute(0, 3, 1, 2)
    half = F.interpolate(image, scale_factor=0.5, mode='bilinear', align_corners=False)
    back = F.interpolate(half, size=image.shape[2:], mode='bilinear', align_corners=False)
    lost = (image - back).abs().sum(dim=1)[..., None]
    if not scale:
        return lost
    mean = lost.mean(dim=(1, 2), keepdim=True)
    return mean + (lost - mean) / scale


@torch.no_grad()
def edges(x: Tensor, lost: Tensor, sampling: Sampling, neighbours: int) -> Tensor:
    """Which samples each query is joined to: (groups, w^2, s^2) of bool.

    A query's budget is its share of the detail `lost` in its group times w^2 * `neighbours`, from 1 to s^2. Its
    threshold is found in 8 bisections, so that about as many samples have a greater cosine similarity.
    """
    shares = sampling.queries(lost)
    pixels, samples = shares.shape[1], sampling.side**2
    budgets = (shares / shares.sum(dim=1, keepdim=True) * pixels * neighbours).clamp(1, samples)
    queries = F.normalize(sampling.queries(x), dim=-1)
    step = max(1, MOST_LOGITS // (pixels * samples))
    parts = zip(queries.split(step), budgets.split(step), sampling.samples(F.normalize(x, dim=-1), step), strict=True)
    return torch.cat([_above_threshold(q @ s.mT, budget) for q, budget, s in parts])


def _above_threshold(similarity: Tensor, budget: Tensor) -> Tensor:
    least, most = similarity.amin(dim=-1, keepdim=True), torch.ones_like(budget)
    threshold = similarity.mean(dim=-1, keepdim=True)
    for _ in range(BISECTIONS):
        too_many = (similarity > threshold).sum(dim=-1, keepdim=True) > budget
        least = torch.where(too_many, threshold, least)
        most = torch.where(too_many, most, threshold)
        threshold = (least + most) / 2
    return similarity > threshold


class Grapher(nn.Module):
    """softmax(scale * (cos(q, k), or -100 without an edge) + 16 sigmoid(bias of the offset)) v, then a projection."""

    def __init__(self, dim: int, heads: int, window: int, samples: int) -> None:
        super().__init__()
        self.heads, self.window, self.side = heads, window, samples
        self.proj_group = nn.Linear(dim, dim)
        self.proj_sample = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), 10.0).log())
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False))

    def forward(self, x: Tensor, sampling: Sampling, edge: Tensor) -> Tensor:
        """A map (B, H, W, C) to one of the same shape."""
        queries = F.normalize(self._heads(sampling.queries(self.proj_group(x))), dim=-1)
        bias, scale = self.bias(), self.logit_scale.clamp(max=GREATEST_SCALE).exp()
        step = max(1, MOST_LOGITS // (self.heads * edge[0].numel()))
        parts = zip(queries.split(step), edge.split(step), sampling.samples(self.proj_sample(x), step), strict=True)
        results = []
        for q, joined, sample in parts:
            k, v = (self._heads(part) for part in sample.chunk(2, dim=-1))
            logits = (q @ F.normalize(k, dim=-1).mT).masked_fill(~joined[:, None], -100) * scale + bias
            results.append((logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return self.proj(sampling.restored(torch.cat(results)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def bias(self) -> Tensor:
        """(heads, w^2, s^2). The published index wraps around in rows and columns together, as here."""
        weight = self.logit_scale
        offset = torch.arange(1 - self.side, self.window, device=weight.device, dtype=weight.dtype)
        offset = offset * (8 / (self.window - 1))
        offset = offset.sign() * (offset.abs() + 1).log2() / 3
        table = self.cpb_mlp(torch.stack(torch.meshgrid(offset, offset, indexing='ij'), dim=-1)).flatten(0, 1)
        return 16 * table[position_index(self.window, self.side, weight.device)].sigmoid().permute(2, 0, 1)


def position_index(window: int, samples: int, device: torch.device | None = None) -> Tensor:
    """(w^2, s^2): the row of the bias's table for each query and sample, taken modulo the table's length."""
    side = window + samples - 1
    query, sample = (torch.arange(size**2, device=device) for size in (window, samples))
    rows = sample // samples - query[:, None] // window - window + 1
    columns = sample % samples - query[:, None] % window - window + 1
    return (rows * side + columns) % side**2


class ConvBlock(nn.Module):
    """A depthwise convolution, GELU, a linear one, and attention over channels, under the published name `cab`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        attention = ChannelAttention(dim, max(1, dim // 30))
        self.cab = nn.Sequential(Conv2d(dim, dim, 3, groups=dim), nn.GELU(), Conv2d(dim, dim, 1), attention)

    def forward(self, x: Tensor) -> Tensor:
        return self.cab(x)


class Block(nn.Module):
    """x + LN(grapher(x)) + conv_scale * CAB(x), then x + LN(FFN(x))."""

    def __init__(
        self, dim: int, heads: int, window: int, samples: int, ratio: float, conv_scale: float, spec: Spec
    ) -> None:
        super().__init__()
        self.spec: Spec = spec
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.grapher = Grapher(dim, heads, window, samples)
        self.mlp = ConvFFN(dim, int(ratio * dim), 3)
        self.conv_scale = conv_scale
        self.conv_block = ConvBlock(dim) if conv_scale else None

    def forward(self, x: Tensor, graphs: dict[str, tuple[Sampling, Tensor]]) -> Tensor:
        y = x + self.norm1(self.grapher(x, *graphs[self.spec]))
        if self.conv_block is not None:
            y = y + self.conv_scale * self.conv_block(x)
        return y + self.norm2(self.mlp(y))


class GraphGroup(Group):
    """A group whose blocks share graphs, which are built from the group's input."""

    def __init__(
        self, dim: int, blocks: Sequence[Block], window: int, samples: int, neighbours: int, scale: float
    ) -> None:
        super().__init__(dim, blocks)
        self.specs = sorted({block.spec for block in blocks})
        self.window, self.samples, self.neighbours, self.detail_scale = window, samples, neighbours, scale

    def forward(self, t: Tensor, *shared: Any) -> Tensor:
        lost = detail(t.detach(), self.detail_scale)
        graphs = {}
        for spec in self.specs:
            sampling = (Local if spec == 'GN' else Global)(t.shape[1], t.shape[2], self.window, self.samples)
            graphs[spec] = sampling, edges(t, lost, sampling, self.neighbours)
        return super().forward(t, graphs)


@ARCH_REGISTRY.register()
class IPG(Shell):
    """IPG, the image processing graph network (CVPR 2024), by default as published for its scale.

    Images (B, 3, H, W) in [0, 1] become (B, 3, scale * H, scale * W). Reflection pads them to multiples of
    `sample_size`, as in the published test. Graphs are built as in the published evaluation, in training too: the
    published training sorts all similarities and repairs budgets at random.

    Args:
        upscale (int): 2, 3 or 4.
        embed_dim (int): channels of the maps, a multiple of each of `num_heads`.
        depths (list[int]): blocks of each group.
        num_heads (list[int]): heads of each group.
        window_size (int): side of a group of queries in pixels.
        sample_size (int): side of a group of samples in pixels, `window_size` plus an even number, and its multiple.
        top_k (int): mean number of samples that a query is joined to.
        mlp_ratio (float): linear layers are int(mlp_ratio * embed_dim) wide.
        conv_scale (float | None): factor of the branch of convolutions; 0: no branch. By default 0.01, at x4 0.
        diff_scales (list[float] | None): divisor of the spread of the detail for each group, 0: as it is. By default
            10 and zeros at x2, 10 and 1.5 otherwise.
        stage_spec (list[list[str]] | None): for each block of each group `GN` (local samples) or `GS` (global ones). By
            default in turn.
        upsampler (str): `pixelshuffle` or `pixelshuffledirect`.
        in_chans (int): channels of the image.
        img_range (float): 1.0.
        resi_connection (str): `1conv`.
        dist_type (str): `cossim`.
        flex_type (str): `interdiff_plain`.
        FFNtype (str): `basic-dwconv3`.
        conv_type (str | None): `dwconv3-gelu-conv1-ca`; None: no branch of convolutions.
        graph_flags (list[int] | None): 1 for each group.
        graph_switch (int): 1.
        head_wise (int): 0.
        fast_graph (int): without effect; the fast graph is built always.
        img_size (int): without effect.
    """

    def __init__(
        self,
        upscale: int = 2,
        embed_dim: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        window_size: int = 16,
        sample_size: int = 32,
        top_k: int = 256,
        mlp_ratio: float = 4.0,
        conv_scale: float | None = None,
        diff_scales: Sequence[float] | None = None,
        stage_spec: Sequence[Sequence[Spec]] | None = None,
        upsampler: Tail = 'pixelshuffle',
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        dist_type: Literal['cossim'] = 'cossim',
        flex_type: Literal['interdiff_plain'] = 'interdiff_plain',
        FFNtype: Literal['basic-dwconv3'] = 'basic-dwconv3',
        conv_type: Literal['dwconv3-gelu-conv1-ca'] | None = 'dwconv3-gelu-conv1-ca',
        graph_flags: Sequence[int] | None = None,
        graph_switch: Literal[1] = 1,
        head_wise: Literal[0] = 0,
        fast_graph: int = 1,
        img_size: int = 64,
    ) -> None:
        if conv_scale is None:
            conv_scale = 0 if upscale == 4 else 0.01
        if diff_scales is None:
            diff_scales = [10, *([0 if upscale == 2 else 1.5] * (len(depths) - 1))]
        if stage_spec is None:
            stage_spec = [['GS' if j % 2 else 'GN' for j in range(depth)] for depth in depths]
        if img_range != 1.0:
            raise ValueError(f'img_range is {img_range}, only 1.0 is possible')
        for name, given in (('num_heads', num_heads), ('diff_scales', diff_scales), ('stage_spec', stage_spec)):
            if len(given) != len(depths):
                raise ValueError(f'{name} has {len(given)} entries, it needs one for each of the {len(depths)} groups')
        if wrong := [heads for heads in num_heads if embed_dim % heads]:
            raise ValueError(f'embed_dim is {embed_dim}, it must be a multiple of num_heads, {wrong[0]}')
        if window_size < 2 or sample_size % window_size or (sample_size - window_size) % 2 or sample_size % 2:
            raise ValueError(
                f'sample_size is {sample_size}, it must be an even multiple of window_size, {window_size}, whose '
                'difference is even'
            )
        if any(given != 1 for given in graph_flags or ()):
            raise ValueError(f'graph_flags is {graph_flags}, only 1 is possible')
        if [len(spec) for spec in stage_spec] != list(depths):
            raise ValueError(f'stage_spec is {stage_spec}, it needs one entry for each block of `depths`')
        sides, conv_scale = (window_size, sample_size), conv_scale if conv_type else 0
        groups = [
            GraphGroup(
                embed_dim,
                [Block(embed_dim, heads, *sides, mlp_ratio, conv_scale, spec) for spec in specs],
                *sides,
                top_k,
                scale,
            )
            for heads, specs, scale in zip(num_heads, stage_spec, diff_scales, strict=True)
        ]
        super().__init__(embed_dim, groups, upscale, upsampler, in_chans, multiple=sample_size)
        self.apply(init_weights)

    def padded(self, image: Tensor) -> Tensor:
        """The image (B, C, H, W) reflected at the bottom and right up to multiples of `sample_size`."""
        return pad_to_multiple(image.permute(0, 2, 3, 1), self.multiple).permute(0, 3, 1, 2)
