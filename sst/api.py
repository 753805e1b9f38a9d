"""Pictures in, pictures out, from Python: `load_model('SST-tiny-x2')(image)`."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from sst.archs import SST
from sst.inference import Tiler, TileSize, self_ensemble, window_multiple
from sst.inference.devices import best_device
from sst.inference.enlarging import Bands, Samples, enlarge, whole
from sst.interop.pretrained import from_pretrained

Image = TypeVar('Image', np.ndarray, Tensor, PIL.Image.Image)
WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
SHAPES = ((), (1,), (2,), (3,), (4,))  # beyond (H, W): grey, with alpha, RGB, RGBA
MODES = ('RGB', 'RGBA', 'L', 'LA', 'I;16')  # of Pillow's pictures: those that stay what they are
SIMPLER = {'1': 'L', 'La': 'LA'}
BEYOND = 1.0  # how far floating-point pictures may lie outside [0, 1]: results of other programs overshoot a little


class Upscaler:
    """A network that takes pictures as they are and gives them back enlarged, of the same kind.

    Args:
        net (SST): taken over: moved, and prepared for inference (`SST.optimize_for_inference`).
        device (str | torch.device | None): None: CUDA, else Apple's MPS, else the CPU.
        dtype (str | torch.dtype | None): of maps and weights. None: float16 on CUDA, float32 elsewhere.
        tile (int | Literal['auto'] | None): LR pixels a side of the tiles that pictures are cut into; 'auto': as free
            memory allows, so that most are computed whole; None: all are.
        overlap (int): LR pixels that a tile reads beyond its border.
        ensemble (bool): the mean over the eight flips and turns: eight times the time for a little more quality.

    Raises:
        ValueError: a dtype, tile or overlap that is none.
    """

    def __init__(
        self,
        net: SST,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        *,
        tile: int | Literal['auto'] | None = 'auto',
        overlap: int = 32,
        ensemble: bool = False,
    ) -> None:
        self.device = torch.device(device) if device is not None else best_device()
        chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if dtype is not None and not isinstance(chosen, torch.dtype):
            raise ValueError(f'dtype {dtype!r} is unknown; allowed are float32, float16 and bfloat16')
        if not (tile in ('auto', None) or (type(tile) is int and tile >= 1)) or type(overlap) is not int or overlap < 0:
            raise ValueError(
                f'tile {tile!r} with overlap {overlap!r}: allowed are a tile of at least 1 LR pixel, "auto" or None, '
                'and an overlap of at least 0'
            )
        self.net = net.to(self.device).optimize_for_inference(chosen)
        self.scale = net.scale
        multiple = window_multiple(net)
        predict = partial(self_ensemble, self._predict) if ensemble else self._predict
        self._fitting = TileSize(self.net, overlap, multiple)
        size = self._fitting if tile == 'auto' else tile
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
        """(height, width), LR pixels, of the tiles in which a picture of this size is computed, their overlap too."""
        rows, columns = self._tiler.cut(height, width)
        return [(row.stop - row.start, column.stop - column.start) for row in rows for column in columns]

    def memory(self, height: int, width: int) -> int:
        """About how many bytes of the device's memory a picture of this size takes while it is computed."""
        return max(self._fitting.needed(*tile, width) for tile in self.tiles(height, width))

    def __call__(self, image: Image) -> Image:
        """Enlarge a picture.

        Args:
            image: RGB or grey, sides of at least 1 pixel, as
                a NumPy array (H, W) or (H, W, C) of uint8, uint16 or floating-point numbers in [0, 1], C 1 to 4: grey,
                grey and alpha, RGB, RGB and alpha;
                a Pillow picture of 8 or, grey, 16 bits; palettes and CMYK become RGB, or RGBA;
                a tensor (3, H, W) or (B, 3, H, W) of floating-point numbers in [0, 1], on any device.

        Returns:
            The same kind, (scale * H, scale * W), clipped to its range.

        Raises:
            TypeError: another kind of picture or number.
            ValueError: another shape, a mode of open range, or values far outside the range.
        """
        if isinstance(image, PIL.Image.Image):
            return self._pillow(image)
        if isinstance(image, Tensor):
            return self._tensor(image)
        if isinstance(image, np.ndarray):
            return self._array(image)
        raise TypeError(f'a picture is a NumPy array, a Pillow picture or a tensor, not {type(image).__name__}')

    def __repr__(self) -> str:
        dtype = str(self.net.stem.weight.dtype).removeprefix('torch.')
        return f'{type(self).__name__}(x{self.scale}, {dtype} on {self.device})'

    def _predict(self, lr: Tensor) -> Tensor:
        return self.net(lr.to(self.device, torch.float32))

    def _tensor(self, image: Tensor) -> Tensor:
        if not image.is_floating_point():
            raise TypeError(f'a tensor of {image.dtype}: allowed are floating-point numbers in [0, 1]; divide by 255')
        if image.dim() not in (3, 4) or image.shape[-3] != 3 or 0 in image.shape:
            raise ValueError(f'a tensor {tuple(image.shape)}: allowed are (3, H, W) and (B, 3, H, W)')
        _require_range(float(image.min()), float(image.max()))
        lr = (image if image.dim() == 4 else image[None]).detach()
        rows = self._tiler.rows(lambda top, bottom: lr[..., top:bottom, :], *lr.shape[-2:])
        sr = torch.cat(list(rows), dim=-2).clamp(0, 1)
        return (sr if image.dim() == 4 else sr[0]).to(image)

    def _array(self, image: np.ndarray) -> np.ndarray:
        white = WHITE.get(image.dtype)
        if white is None and image.dtype.kind != 'f':
            raise TypeError(f'an array of {image.dtype}: allowed are uint8, uint16 and floating point in [0, 1]')
        if image.ndim not in (2, 3) or image.shape[2:] not in SHAPES or 0 in image.shape:
            raise ValueError(f'an array {image.shape}: allowed are (H, W) and (H, W, C) with C of 1 to 4')
        if white is None:
            _require_range(float(image.min()), float(image.max()))
        samples = image.reshape(*image.shape[:2], -1)
        sr = whole(self.enlarge(samples if white else samples.astype(np.float32)))
        result = sr.reshape(*sr.shape[:2], *image.shape[2:])
        return (np.rint(result * white) if white else result).astype(image.dtype)

    def _pillow(self, image: PIL.Image.Image) -> PIL.Image.Image:
        if image.mode in ('I', 'F'):
            advice = 'give it as an array of uint16 or floating point in [0, 1]'
            raise ValueError(f'a picture of mode {image.mode}, whose range is open: {advice}')
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
    window_sizes: Sequence[int] | None = None,
    num_heads: Sequence[int] | int | None = None,
    scale: int | None = None,
    param_key: str | None = None,
    backend: str = 'auto',
    **how: Any,
) -> Upscaler:
    """A network ready to enlarge pictures.

    Args:
        source (str | Path): the name of weights that ship (`SST-tiny-x2`), a weights file of any origin, a folder
            written by `save_pretrained`, or `hf://owner/repo/file`.
        device, dtype: as for `Upscaler`.
        window_sizes, num_heads, scale: as for `from_pretrained`: what the file does not tell.
        param_key, backend: as for `from_pretrained`: which entry of the file to take, and who computes the attention.
        **how: `tile`, `overlap` and `ensemble`, as for `Upscaler`.

    Raises:
        UserError: weights that are missing, broken or leave options open, in one line that says what to do.
    """
    net = from_pretrained(
        source,
        window_sizes=window_sizes,
        num_heads=num_heads,
        scale=scale,
        param_key=param_key,
        backend=backend,
    )
    return Upscaler(net, device, dtype, **how)


def _require_range(least: float, greatest: float) -> None:
    if not (least >= -BEYOND and greatest <= 1 + BEYOND):  # NaN neither
        raise ValueError(f'values from {least:g} to {greatest:g}: allowed are [0, 1]; divide by the white value')
