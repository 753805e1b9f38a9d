"""Metrics beside BasicSR's PSNR and SSIM, registered in its METRIC_REGISTRY."""

from sst.metrics.perceptual import calculate_dists, calculate_lpips, require_packages

__all__ = ['calculate_dists', 'calculate_lpips', 'require_packages']
