"""Draws what networks make of a photograph that was shrunk and saved as JPEG: plain and robust weights, bicubic.

`python scripts/compare_jpeg.py` writes docs/images/jpeg_x2.png, with --scale 4 jpeg_x4.png.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import numpy as np
from PIL import Image
from skimage import data

from comparison import Panel, draw_comparison  # after the repository is on the path
from sst import load_model
from sst.ops.imresize import imresize_to
from sst.utils.command_line import CommandLine
from sst.utils.errors import in_one_line

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ('astronaut', 'chelsea', 'coffee')


def compare(picture: str, scale: int, quality: int, network: str) -> Image.Image:
    """The picture of all versions.

    Raises:
        UserError: weights of these names do not ship.
    """
    original = getattr(data, picture)()
    height, width = (size // scale * scale for size in original.shape[:2])
    original = original[:height, :width]
    small = _resized(original, (height // scale, width // scale))
    encoded = io.BytesIO()
    Image.fromarray(small).save(encoded, 'JPEG', quality=quality)
    lr = np.asarray(Image.open(encoded))
    versions = {name: load_model(name, 'cpu')(lr) for name in (f'{network}-x{scale}', f'{network}-robust-x{scale}')}
    plain, robust = (_panel(name, version, original, scale) for name, version in versions.items())
    bicubic = _panel('Bicubic', _resized(lr, (height, width)), original, scale)
    title = f'{picture}, shrunk to 1/{scale} and saved as JPEG of quality {quality}'
    return draw_comparison(title, [plain, bicubic, robust, Panel('Original', '', original)])


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.rint(imresize_to(picture / np.float32(255), size).clip(0, 1) * 255).astype(np.uint8)


def _panel(name: str, version: np.ndarray, original: np.ndarray, scale: int) -> Panel:
    from basicsr.metrics import calculate_psnr, calculate_ssim  # importable since sst has been imported

    pair = version[..., ::-1], original[..., ::-1]  # BasicSR's order of channels
    psnr = calculate_psnr(*pair, crop_border=scale, test_y_channel=True)
    ssim = calculate_ssim(*pair, crop_border=scale, test_y_channel=True)
    return Panel(name, f'{psnr:.2f} dB / {ssim:.4f}', version)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scale', type=int, default=2, choices=(2, 3, 4))
    parser.add_argument('--quality', type=int, default=40, help='of the JPEG (%(default)s)')
    parser.add_argument('--picture', default='coffee', choices=PICTURES, help='of scikit-image (%(default)s)')
    parser.add_argument('--network', default='SST-tiny', help='NAME of NAME-x2 and NAME-robust-x2 (%(default)s)')
    parser.add_argument('-o', '--output', type=Path)
    args = parser.parse_args(arguments)
    output = args.output or ROOT / 'docs' / 'images' / f'jpeg_x{args.scale}.png'
    with in_one_line():
        compare(args.picture, args.scale, args.quality, args.network).save(output)
    print(f'Written: {output}')


if __name__ == '__main__':
    main()
