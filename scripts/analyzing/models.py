"""The networks that are analysed, and the images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from sst.archs import SSTReal, WindowNetwork
from sst.checkpoints.networks import options_of
from sst.checkpoints.pretrained import MissingOptionsError, from_pretrained
from sst.inference.one_step import OneStep
from sst.inference.padding import padded, required_multiple
from sst.inference.probing import probe_network
from sst.ops.imresize import imresize
from sst.utils.errors import UserError
from standings.entries import NAMES, Entry, chosen
from standings.quality import weights_of

ENDINGS = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


@dataclass(frozen=True)
class Model:
    """A network with weights, from RGB (B, 3, h, w) in [0, 1] to the enlarged one; its input may have gradients."""

    name: str
    net: nn.Module
    scale: int
    predict: Callable[[Tensor], Tensor]
    device: torch.device

    def enlarge(self, lr: np.ndarray) -> np.ndarray:
        """An LR image (h, w, 3) of uint8 as SR (s h, s w, 3) of uint8."""
        with torch.no_grad():
            sr = self.predict(tensor(lr).to(self.device))[0].clamp(0, 1).mul(255).round()
        return sr.byte().permute(1, 2, 0).cpu().numpy()

    def with_layers(self) -> WindowNetwork:
        """The network, where its inside is of interest. Raises UserError for a network other than ours."""
        if isinstance(self.net, WindowNetwork):
            return self.net
        raise UserError(
            f'{self.name}: this analysis looks into the layers of SST and ESC-RIB, and this is a {kind(self.net)}'
        )


@dataclass(frozen=True)
class Picture:
    """An image (H, W, 3) of uint8, RGB: HR whose sides are multiples of the scale, or LR."""

    name: str
    pixels: np.ndarray


def kind(net: nn.Module) -> str:
    return str((options_of(net) or {}).get('type', type(net).__name__))


def load_models(sources: Sequence[str], scale: int | None, root: Path, device: str) -> list[Model]:
    """The networks that are named.

    Args:
        sources (Sequence[str]): shipped weights, weights files of any system, `hf://` addresses, or names of the
            league, whose weights lie where their option files say.
        scale (int | None): of names of the league; None: 2.
        root (Path): the folder that option files name weights from.

    Raises:
        UserError: weights are missing or cannot be read, or the networks differ in their scale.
    """
    models = [_load(source, scale or 2, root, torch.device(device)) for source in sources]
    if len({model.scale for model in models}) > 1:
        found = ', '.join(f'{model.name} x{model.scale}' for model in models)
        raise UserError(f'--models: all must enlarge alike, not {found}; name files of one scale, or set --scale')
    return models


def _load(source: str, scale: int, root: Path, device: torch.device) -> Model:
    name, file = Path(source).stem if '/' in source or '.' in source else source, source
    if source in NAMES:
        entry = Entry(chosen([source])[0], scale)
        weights = weights_of(options := entry.options(), root)
        if weights is None:
            raise UserError(f'--models {source}: there are no weights at {options["path"]["pretrain_network_g"]}')
        file = str(weights)
    try:
        net = from_pretrained(file).to(device).float().eval().requires_grad_(False)
    except MissingOptionsError as error:
        raise UserError(error.kept()) from error
    if isinstance(net, SSTReal):
        return Model(name, net, net.scale, OneStep(net), device)
    multiple = required_multiple(options_of(net) or {})
    if isinstance(net, WindowNetwork):
        factor = net.scale
    else:
        properties = probe_network(net, device, multiple)
        factor, multiple = properties.scale, properties.multiple
    predict = net if multiple == 1 else partial(padded, net, scale=factor, multiple=multiple)
    return Model(name, net, factor, predict, device)


def read_pictures(paths: Sequence[Path], scale: int, lr: bool) -> list[Picture]:
    """Images and folders of images; HR images are cropped to multiples of the scale.

    Raises:
        UserError: there is no image, or one cannot be read or is too small.
    """
    files = [file for path in paths for file in (_images_in(path) if path.is_dir() else [path])]
    if not files:
        raise UserError(f'--images {" ".join(map(str, paths))}: no image ({", ".join(ENDINGS)}) is there')
    pictures = []
    for file in files:
        if not file.is_file():
            raise UserError(f'{file}: no such file')
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise UserError(f'{file}: cannot be read as an image')
        height, width = (size if lr else size // scale * scale for size in image.shape[:2])
        if min(height, width) < scale:
            raise UserError(f'{file}: {image.shape[1]}x{image.shape[0]} pixels are too few')
        pictures.append(Picture(file.stem, np.ascontiguousarray(image[:height, :width, ::-1])))
    return pictures


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)


def shrunk(hr: np.ndarray, scale: int) -> np.ndarray:
    """LR of an HR image, by MATLAB's bicubic, as in the benchmark sets."""
    return imresize(hr, 1 / scale)


def tensor(image: np.ndarray) -> Tensor:
    """An image (H, W, 3) of uint8 as (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
