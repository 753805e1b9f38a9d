"""Small networks and comparisons for tests, and what programs leave and say."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor


def assert_close(
    actual: Tensor, expected: Tensor, tolerance: float, what: str = 'result', floor: float = 1e-12
) -> None:
    """Relative L2 error below `tolerance`, equal shapes; what should vanish is measured against `floor`."""
    assert actual.shape == expected.shape, f'{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}'
    difference = (actual.double() - expected.double()).norm()
    error = (difference / expected.double().norm().clamp_min(floor)).item()
    assert error <= tolerance, f'{what}: relative error {error:.2e} is above {tolerance:.0e}'


def tiny_options(**changes) -> dict:
    """Options of a network that is quick on a CPU and uses every part."""
    options = {
        'scale': 2,
        'dim': 12,
        'num_blocks': 2,
        'window_sizes': [4, 6],
        'num_heads': 2,
        'ffn_expansion': 1.5,
        'bias': {'type': 'RIB', 'ranks': [2, 4], 'hidden': 8, 'bands': 4},
        'gate': 'CLA',
        'upsampler': {'type': 'pixelshuffle_direct'},
    }
    return options | changes


def tiny_escrib(**changes) -> dict:
    """Options of an ESC-RIB that is quick on a CPU and uses every part."""
    options = {
        'scale': 2,
        'dim': 12,
        'pdim': 4,
        'kernel_size': 5,
        'num_blocks': 2,
        'conv_blocks': 2,
        'window_size': 4,
        'num_heads': 2,
        'ffn_expansion': 1.25,
        'bias': {'type': 'RIB', 'ranks': 2, 'hidden': 8, 'bands': 4},
    }
    return options | changes


def tiny_real_options(**changes) -> dict:
    """Options of an SSTReal that is quick on a CPU and uses every part."""
    options = {
        'dim': 8,
        'num_blocks': 3,
        'window_sizes': [4, 8],
        'num_heads': 2,
        'ffn_expansion': 2.0,
        'bias': {'type': 'RIB', 'ranks': 2, 'hidden': 4, 'bands': 3},
        'upsampler_channels': 4,
        'noise_channels': 6,
        'embedding_channels': 8,
        'lr_blocks': 2,
        'middle_block': 1,
    }
    return options | changes


def picture(height: int, width: int, batch: int = 1) -> Tensor:
    """A random picture batch (B, 3, H, W) in [0, 1]."""
    return torch.rand(batch, 3, height, width)


def write_noise(path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Write a soft random picture of (height, width, 3) uint8, in OpenCV's order of channels, and return it."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    content = cv2.GaussianBlur(noise, (5, 5), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), content)
    return content


def files(folder: str | Path) -> list[str]:
    """Every file in a folder and the folders in it, hidden ones too, by its path from there."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob('*') if path.is_file())


def errors(lines: list[str]) -> list[str]:
    """Those lines of a program's that tell of errors."""
    return [line for line in lines if line.startswith('error: ')]
