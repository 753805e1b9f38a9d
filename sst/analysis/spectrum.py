"""The spectrum of an error: at which frequencies a method fails."""

import numpy as np


def error_spectrum(sr: np.ndarray, hr: np.ndarray, bins: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """The mean power of `sr - hr` in rings of equal width around frequency 0.

    The error is multiplied by a Hann window before the transform. Powers are divided by the sum of the squared window,
    so white noise of variance v has power v in every ring.

    Args:
        sr (np.ndarray): (H, W), such as Y in [0, 255].
        hr (np.ndarray): (H, W).
        bins (int): number of rings up to half a cycle per pixel.

    Returns:
        tuple[np.ndarray, np.ndarray]: (bins,) frequencies in cycles per pixel, and (bins,) powers in squared units of
        the images; NaN where an image is too small for a frequency in a ring.

    Raises:
        ValueError: the shapes differ, are not (H, W), or `bins` is not positive.
    """
    if sr.shape != hr.shape or sr.ndim != 2 or bins < 1:
        raise ValueError(f'error_spectrum needs two images (H, W) and bins >= 1, not {sr.shape}, {hr.shape}, {bins}')
    window = np.outer(np.hanning(sr.shape[0] + 2)[1:-1], np.hanning(sr.shape[1] + 2)[1:-1])
    transform = np.fft.fft2((sr.astype(np.float64) - hr) * window)
    power = np.abs(transform) ** 2 / (window**2).sum()
    frequency = np.hypot(np.fft.fftfreq(sr.shape[0])[:, None], np.fft.fftfreq(sr.shape[1])[None, :])
    ring = np.minimum((frequency * 2 * bins).astype(int), bins)  # the last one, of the corners, is left out
    counts = np.bincount(ring.ravel(), minlength=bins + 1)[:bins]
    sums = np.bincount(ring.ravel(), power.ravel(), minlength=bins + 1)[:bins]
    with np.errstate(invalid='ignore', divide='ignore'):
        means = np.where(counts > 0, sums / counts, np.nan)
    return (np.arange(bins) + 0.5) / (2 * bins), means
