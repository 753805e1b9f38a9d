"""Metrics beside BasicSR's PSNR and SSIM, registered in its METRIC_REGISTRY."""

from sst.metrics.perceptual import (
    calculate_clipiqa,
    calculate_dists,
    calculate_liqe,
    calculate_lpips,
    calculate_maniqa,
    calculate_musiq,
    calculate_topiq,
    require_packages,
)

__all__ = [
    'calculate_clipiqa',
    'calculate_dists',
    'calculate_liqe',
    'calculate_lpips',
    'calculate_maniqa',
    'calculate_musiq',
    'calculate_topiq',
    'require_packages',
]
