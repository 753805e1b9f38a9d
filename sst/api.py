"""Images in, images out, from Python: `load_model('SST-tiny-x2')(image)`."""

import inspect
import math
import warnings
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from sst.archs import AttentionNetwork, SSTReal
from sst.checkpoints.networks import options_of
from sst.checkpoints.pretrained import from_pretrained
from sst.inference import (
    OneStepTiler,
    Tiler,
    TileSize,
    one_step_multiple,
    padded,
    probe_network,
    required_multiple,
    self_ensemble,
    window_multiple,
)
from sst.inference.devices import best_device
from sst.inference.enlarging import Bands, Samples, enlarge, whole
from sst.utils.errors import UserError
from sst.utils.suggest import did_you_mean

Image = TypeVar('Image', np.ndarray, Tensor, PIL.Image.Image)
WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
SHAPES = ((), (1,), (2,), (3,), (4,))  # beyond (H, W): grey, with alpha, RGB, RGBA
MODES = ('RGB', 'RGBA', 'L', 'LA', 'I;16')  # of Pillow's images: those that stay what they are
SIMPLER = {'1': 'L', 'La': 'LA'}
BEYOND = 1.0  # how far floating-point images may lie outside [0, 1]: results of other programs overshoot a little


class Upscaler:
    """A network that takes images as they are and gives them back enlarged, of the same kind.

    Args:
        net (nn.Module): an SST, an SSTReal or any other network from RGB to RGB in [0, 1]. It is taken over: moved, and
            prepared for inference.
        device (str | torch.device | None): None: CUDA, else Apple's MPS, else the CPU.
        dtype (str | torch.dtype | None): of maps and weights; networks of others keep their weights and compute
            under autocast, and turn to float32 for good where a result is not finite. None: float16 on CUDA, else
            float32.
        tile (int | Literal['auto'] | None): LR pixels a side of the tiles that images are cut into. 'auto': as free
            memory allows, so that most are computed whole. None: every image is computed whole.
        overlap (int): LR pixels that a tile reads beyond its border.
        ensemble (bool): take the mean over the eight flips and turns: eight times the time for a little more quality.
        guidance (float | None): for SSTReal alone, 0 to 10: more is more detail, true or not. None: as the weights say.
        seed (int | None): for SSTReal alone, of the noise that every image starts from. None: 0.

    Raises:
        ValueError: the dtype is unknown, or tile, overlap, guidance or seed is not such a number.
        UserError: guidance or seed is given for another network than SSTReal; the network does not take or give RGB in
            [0, 1], or its scale is not a whole number.
    """

    def __init__(
        self,
        net: nn.Module,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        *,
        tile: int | Literal['auto'] | None = 'auto',
        overlap: int = 32,
        ensemble: bool = False,
        guidance: float | None = None,
        seed: int | None = None,
    ) -> None:
        self.device = torch.device(device) if device is not None else best_device()
        chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if dtype is not None and not isinstance(chosen, torch.dtype):
            raise ValueError(f'dtype {dtype!r}: is unknown; use float32, float16 or bfloat16')
        if not (tile in ('auto', None) or (type(tile) is int and tile >= 1)) or type(overlap) is not int or overlap < 0:
            raise ValueError(
                f'tile {tile!r}, overlap {overlap!r}: the tile must be at least 1 LR pixel, "auto" or None, and the '
                'overlap a whole number from 0 on'
            )
        self.starts_from_noise = isinstance(net, SSTReal)  # then it takes guidance and seed
        if not self.starts_from_noise:
            _refuse_noise(net, guidance, seed)
        self.net = net.to(self.device)
        properties, required = None, required_multiple(options_of(net) or {})
        if isinstance(net, AttentionNetwork):
            net.optimize_for_inference(chosen)
            self.scale, self.dtype = net.scale, net.stem.weight.dtype
        else:
            half = self.device.type == 'cuda' and getattr(net, 'supports_half', True)
            self.dtype = chosen or (torch.float16 if half else torch.float32)
            net.float().eval().requires_grad_(False)
            properties = probe_network(net, self.device, required)
            self.scale, required = properties.scale, properties.multiple
        predict = partial(padded, self._predict, scale=self.scale, multiple=required)
        multiple = one_step_multiple(net) if isinstance(net, SSTReal) else math.lcm(required, window_multiple(net))
        if ensemble:
            predict = partial(self_ensemble, predict)
        self._tile_size = TileSize(self.net, overlap, multiple, properties)
        size = self._tile_size if tile == 'auto' else tile
        self._one_step: Callable[..., OneStepTiler] | None = None
        if isinstance(net, SSTReal):
            self._one_step = partial(OneStepTiler, net, ensemble=ensemble, tile=size, overlap=overlap)
            self._tiler: Tiler = self._one_step(guidance=guidance, seed=seed or 0)
        else:
            self._tiler = Tiler(predict, self.scale, tile=size, overlap=overlap, multiple=multiple)

    def enlarge(
        self,
        samples: Samples,
        size: tuple[int, int] | None = None,
        on_tile: Callable[[int, int], None] | None = None,
    ) -> Bands:
        """Samples (H, W, C), enlarged while the result is iterated; see `sst.inference.enlarging.enlarge`."""
        return enlarge(samples, self._tiler, size, on_tile)

    def tiles(self, height: int, width: int) -> list[tuple[int, int]]:
        """(height, width), LR pixels, of the tiles in which an image of this size is computed, with their overlap."""
        rows, columns = self._tiler.cut(height, width)
        return [(row.stop - row.start, column.stop - column.start) for row in rows for column in columns]

    def memory(self, height: int, width: int) -> int:
        """About how many bytes of the device's memory an image of this size takes while it is computed."""
        return max(self._tile_size.needed(*tile, width) for tile in self.tiles(height, width))

    def __call__(self, image: Image) -> Image:
        """Enlarge an image.

        Args:
            image: RGB or grey, sides of at least 1 pixel, as
                a NumPy array (H, W) or (H, W, C) of uint8, uint16 or floating-point numbers in [0, 1], C 1 to 4: grey,
                grey and alpha, RGB, RGB and alpha;
                a Pillow image of 8 or, grey, 16 bits; palettes and CMYK become RGB, or RGBA;
                a tensor (3, H, W) or (B, 3, H, W) of floating-point numbers in [0, 1], on any device.

        Returns:
            The same kind, (scale * H, scale * W), clipped to its range.

        Raises:
            TypeError: another kind of image or number.
            ValueError: another shape, a mode of open range, or values far outside the range.
        """
        if isinstance(image, PIL.Image.Image):
            return self._pillow(image)
        if isinstance(image, Tensor):
            return self._tensor(image)
        if isinstance(image, np.ndarray):
            return self._array(image)
        raise TypeError(f'{type(image).__name__}: is no image; use a NumPy array, a Pillow image or a tensor')

    def with_noise(self, guidance: float | None = None, seed: int | None = None) -> 'Upscaler':
        """The same for another guidance and seed, with the same network. Arguments and errors as for `Upscaler`."""
        if self._one_step is None:
            _refuse_noise(self.net, guidance, seed)
            return self
        twin = copy(self)
        twin._tiler = self._one_step(guidance=guidance, seed=seed or 0)
        return twin

    def __repr__(self) -> str:
        return f'{type(self).__name__}(x{self.scale}, {str(self.dtype).removeprefix("torch.")} on {self.device})'

    def _predict(self, lr: Tensor) -> Tensor:
        lr = lr.to(self.device, torch.float32)
        if isinstance(self.net, AttentionNetwork):  # which is in its dtype
            return self.net(lr)
        if self.dtype is not torch.float32:
            with torch.autocast(self.device.type, self.dtype):
                sr = self.net(lr)
            if sr.isfinite().all():
                return sr
            name = str(self.dtype).removeprefix('torch.')
            warnings.warn(
                f'{type(self.net).__name__}: {name} gives values that are not finite, so float32 is used', stacklevel=2
            )
            self.dtype = torch.float32
        return self.net(lr)

    def _tensor(self, image: Tensor) -> Tensor:
        if not image.is_floating_point():
            raise TypeError(f'a tensor of {image.dtype}: must be floating point in [0, 1]; divide by 255')
        if image.dim() not in (3, 4) or image.shape[-3] != 3 or 0 in image.shape:
            raise ValueError(f'a tensor {tuple(image.shape)}: must be (3, H, W) or (B, 3, H, W)')
        _require_range(float(image.min()), float(image.max()))
        lr = (image if image.dim() == 4 else image[None]).detach()
        rows = self._tiler.rows(lambda top, bottom: lr[..., top:bottom, :], *lr.shape[-2:])
        sr = torch.cat(list(rows), dim=-2).clamp(0, 1)
        return (sr if image.dim() == 4 else sr[0]).to(image)

    def _array(self, image: np.ndarray) -> np.ndarray:
        white = WHITE.get(image.dtype)
        if white is None and image.dtype.kind != 'f':
            raise TypeError(f'an array of {image.dtype}: must be uint8, uint16 or floating point in [0, 1]')
        if image.ndim not in (2, 3) or image.shape[2:] not in SHAPES or 0 in image.shape:
            raise ValueError(f'an array {image.shape}: must be (H, W) or (H, W, C) with C from 1 to 4')
        if white is None:
            _require_range(float(image.min()), float(image.max()))
        samples = image.reshape(*image.shape[:2], -1)
        sr = whole(self.enlarge(samples if white else samples.astype(np.float32)))
        result = sr.reshape(*sr.shape[:2], *image.shape[2:])
        return (np.rint(result * white) if white else result).astype(image.dtype)

    def _pillow(self, image: PIL.Image.Image) -> PIL.Image.Image:
        if image.mode in ('I', 'F'):
            advice = 'give it as an array of uint16 or floating point in [0, 1]'
            raise ValueError(f'an image of mode {image.mode}: its range is open; {advice}')
        if image.mode in SIMPLER:
            image = image.convert(SIMPLER[image.mode])
        if image.mode in ('I;16B', 'I;16L', 'I;16N'):  # 16 bits of another order of bytes
            image = PIL.Image.fromarray(np.asarray(image).astype(np.uint16))
        if image.mode not in MODES:
            image = image.convert('RGBA' if image.has_transparency_data else 'RGB')
        return PIL.Image.fromarray(self._array(np.asarray(image)))


def load_model(
    source: str | Path,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    *,
    tile: int | Literal['auto'] | None = 'auto',
    overlap: int = 32,
    ensemble: bool = False,
    guidance: float | None = None,
    seed: int | None = None,
    **network: Any,
) -> Upscaler:
    """A network ready to enlarge images.

    Args:
        source (str | Path): the name of weights that ship (`SST-tiny-x2`), a weights file of any origin, a folder
            written by `save_pretrained`, or `hf://owner/repo/file`.
        device, dtype, tile, overlap, ensemble, guidance, seed: as for `Upscaler`.
        **network: what `from_pretrained` takes besides: `network_g`, `window_sizes`, `num_heads` and `scale` say what
            the file does not tell, `imports` where a network of your own is registered, `param_key` which entry of the
            file to take, and `backend` who computes the attention.

    Raises:
        TypeError: a keyword is unknown.
        UserError: the weights are missing, broken or leave options open, in one line that says what to do.
    """
    known = inspect.signature(from_pretrained).parameters
    if unknown := [name for name in network if name not in known]:
        near = did_you_mean(unknown[0], [*known, *inspect.signature(load_model).parameters])
        raise TypeError(f'load_model() got an unexpected keyword argument {unknown[0]!r}{near}')
    net = from_pretrained(source, **network)
    return Upscaler(net, device, dtype, tile=tile, overlap=overlap, ensemble=ensemble, guidance=guidance, seed=seed)


def _refuse_noise(net: nn.Module, guidance: float | None, seed: int | None) -> None:
    given = {'guidance': guidance, 'seed': seed}
    if names := [f'{name} {value:g}' for name, value in given.items() if value is not None]:
        raise UserError(
            f'{" and ".join(names)}: only a network that starts from noise takes that, and {type(net).__name__} is '
            f'none; leave {"it" if len(names) == 1 else "them"} out, or take an SSTReal'
        )


def _require_range(least: float, greatest: float) -> None:
    if not (least >= -BEYOND and greatest <= 1 + BEYOND):  # NaN neither
        raise ValueError(f'values from {least:g} to {greatest:g}: must lie in [0, 1]; divide by the value of white')
