"""SSTReal, one-step restoration of real images at x4 (released as EDMUNet): the whole network.

It is a consistency model: it turns the enlarged LR image plus noise of standard deviation sigma into the SR image in
one step. There is one resolution, that of the LR image.
"""

import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.attention_network import AttentionNetwork, run_layer
from sst.archs.attention_network import Layer as BaseLayer
from sst.archs.layers import Conv2d
from sst.archs.sstreal_options import MOST_GUIDANCE, SSTRealOptions, ffn_hidden
from sst.archs.sstreal_start import MULTIPLE, SCALE, SIGMA, draw_noise, start, whole
from sst.archs.upsamplers import enlarge
from sst.archs.window_attention import attention_of_layer
from sst.ops.windows import pad_to_multiple
from sst.utils.meta import on_meta


@ARCH_REGISTRY.register()
class SSTReal(AttentionNetwork):
    """The network, from a noisy enlarged image and the LR image to the SR image.

    It takes the fields of `SSTReal.Options` as keywords; the defaults are the released network.

    Raises:
        OptionsError: fields are unknown, wrong or contradictory.
    """

    Options = SSTRealOptions
    cuda_dtype = torch.float32  # as published; it was trained in bfloat16, whose range float16 does not have
    starts_from_noise = True

    def __init__(self, **options) -> None:
        super().__init__(SSTRealOptions.parse(options).model_dump())
        options = self.options
        dim, channels = options['dim'], options['upsampler_channels']
        self.guidance = options['guidance']
        self.sigma_data, self.sigma_unit = options['sigma_data'], 0.1 if options['skip'] else 0.001
        self.noise_embedding = NoiseEmbedding(options['noise_channels'], options['embedding_channels'])
        self.stem = Conv2d(3 * SCALE**2, dim, 3)
        self.lr_stem = Conv2d(3, dim, 3)
        self.blocks = nn.ModuleList(Block(options, index) for index in range(options['num_blocks']))
        self.middle_upsampler = Upsampler(dim, channels)
        self.last_upsampler = Upsampler(dim, channels)

    @classmethod
    def released_options(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The options of the released network if these are weights of its shapes; None for another network's weights.

        {} for an SSTReal of another size: no shape tells its windows, its middle block and more.
        """
        if 'noise_embedding.first.weight' not in state:
            return None
        released = {name: weight.shape for name, weight in state.items()} == _released_shapes()
        return cls.Options().model_dump() if released else {}

    def forward(
        self, x: Tensor, sigma: float | Tensor, lq: Tensor, guidance: float | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Denoise: D_i = c_skip x + c_out n_i, D_f = c_skip x + c_out n_f, D = D_i + guidance (D_f - D_i).

        With s = sigma / 0.1: c_skip = d^2 / (s^2 + d^2), c_out = s / sqrt(s^2 + d^2), d = `sigma_data`. At sigma 0 the
        result is x.

        Args:
            x (Tensor): (B, 3, 4H, 4W), the enlarged image plus noise; images are RGB in [-1, 1].
            sigma (float | Tensor): standard deviation of the noise, at least 0: one number, or (B,).
            lq (Tensor): (B, 3, H, W), the LR image, H and W >= 1.
            guidance (float | None): in evaluation, 0 to 10. None: that of the options.

        Returns:
            In evaluation mode D, (B, 3, 4H, 4W), not clipped, in the dtype of `x`; in training mode D_i and D_f.

        Raises:
            ValueError: shapes that do not belong together, or a sigma or guidance out of range.
        """
        factor = self.guidance if guidance is None else checked_guidance(guidance)
        first, second = self.denoised(x, sigma, lq)
        return (first, second) if self.training else first + factor * (second - first)

    def denoised(self, x: Tensor, sigma: float | Tensor, lq: Tensor) -> tuple[Tensor, Tensor]:
        """D_i and D_f, the middle and the last output, in both modes; arguments and errors as for `forward`."""
        _require_images(x, lq)
        levels = _levels(sigma, x)
        middle, last = self.raw(x, (levels + 0.002).log() / 4, lq)
        s, d = (levels / self.sigma_unit).view(-1, 1, 1, 1), self.sigma_data
        skipped, c_out = d**2 / (s**2 + d**2) * x, s / (s**2 + d**2).sqrt()
        return (skipped + c_out * middle).to(x.dtype), (skipped + c_out * last).to(x.dtype)

    def undecayed(self) -> set[str]:
        """The weights that the published training leaves out of weight decay, 368 of the released 1620.

        They are the weights of the positional biases, the biases of `lr_stem`, `modulation`, `fuse` and the
        upsamplers, and the last convolutions of the upsamplers.
        """
        biases = r'lr_stem|blocks\.\d+\.(modulation|fuse)|(middle|last)_upsampler\.convs\.\d'
        free = re.compile(rf'.*\.attn\.bias\..*|({biases})\.bias|(middle|last)_upsampler\.convs\.3\.weight')
        return {name for name, _ in self.named_parameters() if free.fullmatch(name)}

    def raw(self, x: Tensor, noise_number: Tensor, lq: Tensor) -> tuple[Tensor, Tensor]:
        """The raw network N: its middle and last output, (B, 3, 4H, 4W) each; `noise_number` is (B,) or (1,)."""
        dtype = self.stem.weight.dtype
        cells = F.pixel_unshuffle(x, SCALE)  # (B, 48, H, W); colour slowest, then row, then column of the cell
        image, lr = (map_.permute(0, 2, 3, 1).contiguous().to(dtype) for map_ in (cells, lq))  # (B, H, W, C)
        embedding = self.noise_embedding(noise_number)
        shallow, lr = self.stem(image), self.lr_stem(lr)
        features = shallow
        for index, block in enumerate(self.blocks):
            features = features + block(features, lr, embedding)
            if index == self.options['middle_block']:
                middle = self.middle_upsampler((features + shallow).to(dtype))
        last = self.last_upsampler((features + shallow).to(dtype))
        return middle.permute(0, 3, 1, 2), last.permute(0, 3, 1, 2)

    @torch.no_grad()
    def enlarge(
        self,
        lr: Tensor,
        *,
        guidance: float | None = None,
        seed: int = 0,
        noise: Tensor | None = None,
        multiple: int = MULTIPLE,
    ) -> Tensor:
        """Enlarge whole images in one step, in evaluation mode, as the release does.

        The image is reflected at the right and bottom to multiples of `multiple`. Its bicubic enlargement plus noise
        of standard deviation 1 goes through the network once; the result is cropped. Each image of a batch gets the
        same noise, so its result depends on nothing but the image, the seed and the guidance.

        Args:
            lr (Tensor): (B, 3, H, W), RGB in [0, 1], H and W >= 1.
            guidance (float | None): 0 to 10. None: that of the options.
            seed (int): of the noise, which the CPU draws.
            noise (Tensor | None): (B or 1, 3, 4 H', 4 W') for the padded size, in place of what the seed gives.
            multiple (int): LR pixels, at least 1; 64 in the release.

        Returns:
            Tensor: (B, 3, 4H, 4W), RGB in [0, 1], in the dtype of `lr`.

        Raises:
            ValueError: as `forward`; or the seed, the multiple or the shape of the noise is wrong; or the network is in
                training mode.
        """
        if self.training:
            raise ValueError('SSTReal enlarges in evaluation mode alone; call eval() first')
        if lr.dim() != 4 or lr.shape[1] != 3 or 0 in lr.shape:
            raise ValueError(f'lr must be (B, 3, H, W) with H and W of at least 1, not {tuple(lr.shape)}')
        multiple = _checked_multiple(multiple)
        height, width = (-(-side // multiple) * multiple for side in lr.shape[-2:])
        if noise is None:
            noise = draw_noise(height, width, seed)
        shape = len(lr), 3, SCALE * height, SCALE * width
        if noise.shape not in (shape, (1, *shape[1:])):
            raise ValueError(
                f'noise must be {shape}, or the same with a batch of 1, for an lr {tuple(lr.shape)} that is padded to '
                f'multiples of {multiple}, not {tuple(noise.shape)}'
            )
        return self.one_step(lr, noise, guidance, multiple)

    def one_step(self, lr: Tensor, noise: Tensor, guidance: float | None = None, multiple: int = MULTIPLE) -> Tensor:
        """As `enlarge`, with gradients."""
        height, width = lr.shape[-2:]
        lq = pad_to_multiple(2 * lr.float().permute(0, 2, 3, 1) - 1, multiple).permute(0, 3, 1, 2)
        sr = self(start(lq) + SIGMA * noise.to(lq), SIGMA, lq, guidance)
        return ((sr[..., : SCALE * height, : SCALE * width] + 1) / 2).clamp(0, 1).to(lr.dtype)


@cache
def _released_shapes() -> dict[str, torch.Size]:
    with on_meta():
        return {name: weight.shape for name, weight in SSTReal().state_dict().items()}


class NoiseEmbedding(nn.Module):
    """second(SiLU(first([cos(c w_k), sin(c w_k)]))), w_k = 10000^(-k / (T // 2)), with a 0 at the end for odd T."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = nn.Linear(channels, out_channels)
        self.second = nn.Linear(out_channels, out_channels)

    def forward(self, c: Tensor) -> Tensor:
        """(B,) float32 to (B, E)."""
        half = self.channels // 2
        frequencies = 10000 ** (-torch.arange(half, device=c.device, dtype=torch.float32) / max(half, 1))
        phase = c[:, None] * frequencies
        waves = F.pad(torch.cat((phase.cos(), phase.sin()), dim=1), (0, self.channels % 2))
        return self.second(F.silu(self.first(waves.to(self.first.weight.dtype))))


class Block(nn.Module):
    """gamma * conv3x3(layers(PW(concat(f, l)))); sigma modulates all layers alike. The network adds the result to f.

    The projection, and l, are there only in the first `lr_blocks` blocks.
    """

    def __init__(self, options: dict, index: int) -> None:
        super().__init__()
        dim = options['dim']
        self.gamma = nn.Parameter(torch.full((dim,), 1e-3))
        self.fuse = nn.Linear(2 * dim, dim) if index < options['lr_blocks'] else None
        self.modulation = nn.Linear(options['embedding_channels'], 6 * dim)
        self.layers = nn.ModuleList(Layer(options, layer) for layer in range(len(options['window_sizes'])))
        self.conv = Conv2d(dim, dim, 3)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, f: Tensor, lr: Tensor, embedding: Tensor) -> Tensor:
        parts = self.modulation(embedding)[:, None, None].chunk(6, dim=-1)  # (B or 1, 1, 1, C) each
        g = f.to(self.conv.weight.dtype)
        g = g if self.fuse is None else self.fuse(torch.cat((g, lr), dim=-1))
        for layer in self.layers:
            g = run_layer(layer, g, *parts)
        return self.gamma * self.conv(g)  # float32 as gamma, also beside half precision: the sum keeps small blocks


class Layer(BaseLayer):
    """x + gate Attention(LN(x) (1 + scale) + shift), then the same with the FFN; LN has no parameters."""

    def __init__(self, options: dict, index: int) -> None:
        super().__init__()
        dim = options['dim']
        self.norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attn = attention_of_layer(options, index)
        self.ffn = GatedFFN(dim, ffn_hidden(dim, options['ffn_expansion']), options['dropout'])

    def forward(
        self,
        x: Tensor,
        attn_shift: Tensor,
        attn_scale: Tensor,
        attn_gate: Tensor,
        ffn_shift: Tensor,
        ffn_scale: Tensor,
        ffn_gate: Tensor,
    ) -> Tensor:
        x = self.attn.bias.features(x)
        x = x + attn_gate * self.attn(self.norm(x) * (1 + attn_scale) + attn_shift)
        return x + ffn_gate * self.ffn(self.norm(x) * (1 + ffn_scale) + ffn_shift)


class GatedFFN(nn.Module):
    """(u, v) = halves of DW3x3(PW(x)); PW(dropout(SiLU(u) v))."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, 2 * hidden)
        self.depthwise = Conv2d(2 * hidden, 2 * hidden, 3, groups=2 * hidden)
        self.project = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.depthwise(self.expand(x)).chunk(2, dim=-1)
        return self.project(self.dropout(F.silu(u) * v))


class Upsampler(nn.Module):
    """Four convolutions with LeakyReLU between them, and nearest enlargement by 2 after the first two."""

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        sizes = (dim, channels, channels, channels, 3)
        self.convs = nn.ModuleList(Conv2d(*pair, 3) for pair in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, last = self.convs
        x = enlarge(F.leaky_relu(first(x), 0.2), 2)
        x = enlarge(F.leaky_relu(second(x), 0.2), 2)
        return last(F.leaky_relu(third(x), 0.2))


def checked_guidance(guidance: float) -> float:
    """The guidance. Raises ValueError if it is no number from 0 to 10."""
    if not _is_number(guidance) or not 0 <= guidance <= MOST_GUIDANCE:
        raise ValueError(f'guidance must be a number from 0 to {MOST_GUIDANCE:g}, not {guidance!r}; 2 is usual')
    return float(guidance)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _checked_multiple(multiple: int) -> int:
    number = whole(multiple)
    if number is None or number < 1:
        raise ValueError(f'multiple must be a whole number of at least 1, not {multiple!r}; {MULTIPLE} is usual')
    return number


def _require_images(x: Tensor, lq: Tensor) -> None:
    if lq.dim() != 4 or lq.shape[1] != 3 or 0 in lq.shape:
        raise ValueError(f'lq must be (B, 3, H, W) with H and W of at least 1, not {tuple(lq.shape)}')
    batch, _, height, width = lq.shape
    if x.shape != (batch, 3, SCALE * height, SCALE * width):
        raise ValueError(
            f'x must be {(batch, 3, SCALE * height, SCALE * width)} for an lq {tuple(lq.shape)}, not {tuple(x.shape)}; '
            'enlarge it by 4 and add the noise first, or call enlarge(lr)'
        )


def _levels(sigma: float | Tensor, x: Tensor) -> Tensor:
    """sigma as (1,) or (B,), float32 on the device of x."""
    if not isinstance(sigma, Tensor):  # a GPU need not be asked
        if not _is_number(sigma) or not 0 <= sigma < float('inf'):
            raise ValueError(f'sigma must be a finite number of at least 0, or a tensor, not {sigma!r}; 1 is usual')
        return torch.full((1,), float(sigma), dtype=torch.float32, device=x.device)
    levels = sigma.to(torch.float32).reshape(-1)  # checked where they are: those of training are on the CPU
    if levels.numel() not in (1, len(x)):
        raise ValueError(f'sigma must be one number, or one for each of the {len(x)} images, not {levels.numel()}')
    if not torch.compiler.is_compiling() and not bool(((levels >= 0) & levels.isfinite()).all()):
        raise ValueError(f'sigma must be finite and at least 0, not {levels.tolist()}; 1 is usual')
    return levels.to(x.device, non_blocking=True)
