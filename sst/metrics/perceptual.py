"""LPIPS and DISTS as pyiqa computes them; its licence allows non-commercial use only.

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
    return _score('lpips', img, img2, crop_border)


@METRIC_REGISTRY.register()
def calculate_dists(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, **_: Any) -> float:
    """DISTS (Ding et al., TPAMI 2020); lower is better. Arguments and errors as for `calculate_lpips`."""
    return _score('dists', img, img2, crop_border)


def require_packages(metrics: Iterable[str]) -> None:
    """Raise `UserError` where pyiqa cannot be used and one of the metrics, named by their types, needs it."""
    ours = {calculate_lpips.__name__, calculate_dists.__name__}
    for name in sorted(ours & set(metrics)):
        require('pyiqa', 'create_metric', 'perceptual', f'the metric {name}', ' (for non-commercial use only)')


def _score(name: str, img: np.ndarray, img2: np.ndarray, crop_border: int) -> float:
    with _one_at_a_time, torch.no_grad():
        metric, device = _load(name)
        return float(metric(*(_tensor(image, crop_border).to(device) for image in (img, img2))))


@lru_cache
def _load(name: str) -> tuple[Any, torch.device]:
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    require_packages([f'calculate_{name}'])
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
