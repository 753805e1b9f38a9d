"""How windows of w x w pixels lie on a map (B, H, W, C), for all backends: padding, shift, order, and their inverses.

- Padding: an axis of `size` pixels gets `windows_along(size, w)` windows. Beyond its end the map is reflected
  periodically, without repeating the edge: position p shows pixel `reflected_index(size, ...)[p]`.
- Shift: the padded map is rolled by (-s, -s). Position p of it shows position (p + s) mod (padded size) of the
  unshifted map. `shown_pixels` joins both steps.
- Order: windows are numbered row by row, image by image, and so are the tokens of a window, n = y * w + x.

The torch backends and the ONNX export use these functions. The Triton and C++ kernels compute the same by themselves
and are tested against them.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def reflected_index(size: int, target: int, device: torch.device | None = None) -> Tensor:
    """Source index of each of `target` positions of an axis of `size` pixels that is reflected periodically.

    It equals reflection padding where that is defined (target < 2 * size) and continues it periodically beyond. An axis
    of one pixel repeats the pixel. Returns (target,) of int64.
    """
    period = max(2 * (size - 1), 1)
    position = torch.arange(target, device=device) % period
    return torch.where(position < size, position, period - position)


def windows_along(size: int, window: int) -> int:
    """How many windows cover an axis of `size` pixels: ceil(size / window)."""
    return -(-size // window)


def shown_pixels(size: int, window: int, shift: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """The pixel that each position of an axis of the padded and shifted map shows, and its unshifted position."""
    target = windows_along(size, window) * window
    position = (torch.arange(target, device=device) + shift) % target
    return reflected_index(size, target, device)[position], position


def pad_to_multiple(x: Tensor, window: int) -> Tensor:
    """Extend a map (B, H, W, C) on the bottom and right by reflection until H and W are multiples of `window`."""
    for axis in (1, 2):
        size = x.shape[axis]
        target = windows_along(size, window) * window
        if target != size:
            tail = reflected_index(size, target, x.device)[size:]
            x = torch.cat((x, x.index_select(axis, tail)), dim=axis)
    return x


def fold_padding(padded: Tensor, height: int, width: int) -> Tensor:
    """The adjoint of `pad_to_multiple`: crop (B, padded H, padded W, C) to (B, height, width, C) and add each cropped
    value to the pixel that it was reflected from."""
    for axis, size in ((1, height), (2, width)):
        target = padded.shape[axis]
        if target != size:
            tail = reflected_index(size, target, padded.device)[size:]
            kept, beyond = padded.split((size, target - size), dim=axis)
            padded = kept.index_add(axis, tail, beyond)
    return padded


def partition(x: Tensor, window: int) -> Tensor:
    """Cut a map (B, H, W, C) whose sides are multiples of `window` into (B * windows, N, C), row by row."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // window, window, w // window, window, c)
    return x.transpose(2, 3).reshape(-1, window * window, c)


def merge(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `partition`: (B * windows, N, C) back to (B, height, width, C)."""
    rows, columns, c = height // window, width // window, windows.shape[-1]
    x = windows.reshape(-1, rows, columns, window, window, c)
    return x.transpose(2, 3).reshape(-1, height, width, c)


def map_windows(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    window: int,
    shift: int,
    pad: Callable[[Tensor, int], Tensor] = pad_to_multiple,
) -> Tensor:
    """Apply a function to the windows of a map and put the results back in their places.

    Args:
        function (Callable): from windows (M, N, C) to (M, N, K).
        x (Tensor): the map (B, H, W, C).
        window (int): side of a window, in pixels.
        shift (int): the padded map is rolled by (-shift, -shift) before and back after.
        pad (Callable): extends the map to multiples of `window`.

    Returns:
        Tensor: (B, H, W, K).
    """
    padded = pad(x, window)
    if shift:
        padded = padded.roll((-shift, -shift), dims=(1, 2))
    out = merge(function(partition(padded, window)), window, *padded.shape[1:3])
    if shift:
        out = out.roll((shift, shift), dims=(1, 2))
    return out[:, : x.shape[1], : x.shape[2]]
