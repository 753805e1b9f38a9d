"""LPIPS, DISTS and, without HR, MUSIQ, MANIQA, CLIPIQA, TOPIQ and LIQE as pyiqa computes them.

Its licence allows non-commercial use only.

pyiqa is the extra `perceptual`. It fetches the networks' weights when a metric is used for the first time.
"""

import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from sst.utils.errors import UserError
from sst.utils.optional import require

_one_at_a_time = threading.Lock()


@METRIC_REGISTRY.register()
def calculate_lpips(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """LPIPS with AlexNet's features (Zhang et al., CVPR 2018); lower is better.

    Args:
        img, img2: SR and HR, (H, W, 3) uint8 in BGR order.
        crop_border: pixels to leave out at each side.

    Raises:
        UserError: pyiqa or its weights are missing.
    """
    return _score('lpips', crop_border, img, img2)


@METRIC_REGISTRY.register()
def calculate_dists(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """DISTS (Ding et al., TPAMI 2020); lower is better. Arguments and errors as for `calculate_lpips`."""
    return _score('dists', crop_border, img, img2)


@METRIC_REGISTRY.register()
def calculate_musiq(img: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """MUSIQ (Ke et al., ICCV 2021), of the SR image alone; 0 to 100, higher is better.

    Args:
        img: SR, (H, W, 3) uint8 in BGR order.
        crop_border: pixels to leave out at each side.

    Raises:
        UserError: pyiqa or its weights are missing.
    """
    return _score('musiq', crop_border, img)


@METRIC_REGISTRY.register()
def calculate_maniqa(img: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """MANIQA (Yang et al., CVPRW 2022); 0 to 1, higher is better. Arguments and errors as for `calculate_musiq`."""
    return _score('maniqa', crop_border, img)


@METRIC_REGISTRY.register()
def calculate_clipiqa(img: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """CLIPIQA (Wang et al., AAAI 2023); 0 to 1, higher is better. Arguments and errors as for `calculate_musiq`."""
    return _score('clipiqa', crop_border, img)


@METRIC_REGISTRY.register()
def calculate_topiq(img: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """TOPIQ (Chen et al., TIP 2024); 0 to 1, higher is better. Arguments and errors as for `calculate_musiq`."""
    return _score('topiq_nr', crop_border, img)


@METRIC_REGISTRY.register()
def calculate_liqe(img: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """LIQE (Zhang et al., CVPR 2023); 1 to 5, higher is better. Arguments and errors as for `calculate_musiq`."""
    return _score('liqe', crop_border, img)


OURS = {
    metric.__name__
    for metric in (
        calculate_lpips,
        calculate_dists,
        calculate_musiq,
        calculate_maniqa,
        calculate_clipiqa,
        calculate_topiq,
        calculate_liqe,
    )
}


def require_packages(metrics: Iterable[str]) -> None:
    """Raise `UserError` where pyiqa cannot be used and one of the metrics, named by their types, needs it."""
    for name in sorted(OURS & set(metrics)):
        require('pyiqa', 'create_metric', 'perceptual', f'the metric {name}', ' (for non-commercial use only)')


def _score(name: str, crop_border: int, *images: np.ndarray) -> float:
    with _one_at_a_time, torch.no_grad():
        metric, device = _load(name)
        return float(metric(*(_tensor(image, crop_border).to(device) for image in images)))


@lru_cache
def _load(name: str) -> tuple[Any, torch.device]:
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    require_packages([f'calculate_{name.removesuffix("_nr")}'])
    import pyiqa

    try:
        return pyiqa.create_metric(name, device=device), device
    except ImportError as fault:
        raise UserError(
            f"the metric {name}: pyiqa lacks a package ({fault}); run: pip install --upgrade 'sst-sr[perceptual]'"
        ) from fault
    except OSError as fault:  # no network
        raise UserError(
            f'the metric {name}: pyiqa cannot fetch its weights ({fault}); go on with a connection'
        ) from fault


def _tensor(image: np.ndarray, border: int) -> torch.Tensor:
    """(H, W, 3) BGR of 8 bit to (1, 3, h, w) RGB in [0, 1]."""
    height, width = image.shape[:2]
    inner = image[border : height - border, border : width - border, ::-1]
    return torch.from_numpy(inner.transpose(2, 0, 1).copy())[None].float() / 255
