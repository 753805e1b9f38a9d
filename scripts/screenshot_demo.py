"""A screenshot of the web demo for the documents: starts it and enlarges a photograph in headless Chromium.

    python scripts/screenshot_demo.py --model SST-tiny-x4 --scale 4 --output docs/images/demo.png

The photograph is a part of scikit-image's astronaut, shrunk to 192x144.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from sst.ops.imresize import imresize
from sst.utils.command_line import CommandLine
from sst.utils.errors import UserError, in_one_line

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
SWITCHES = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-quic',
    '--no-first-run',
    '--disable-component-update',
    '--disable-sync',
)
LARGEST = 300_000  # bytes of a picture in the repository


def find_browser() -> str | None:
    """The path of Chromium or Chrome, None where neither is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def running_demo(*arguments: str) -> Iterator[str]:
    """The address of a web demo that runs in a process of its own, on a free port.

    Raises:
        UserError: it does not start; its own words.
    """
    command = [sys.executable, str(ROOT / 'sst' / 'demo.py'), '--port', '0', *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        try:
            line = process.stdout.readline()
            if not line:
                raise UserError(process.stderr.read().strip().removeprefix('error: '))
            yield line.split()[0]
        finally:
            process.terminate()


def photograph(folder: Path) -> Path:
    """Write a small photograph."""
    path = folder / 'astronaut.png'
    with Image.open(Path(skimage.data.__file__).with_name('astronaut.png')) as image:
        Image.fromarray(imresize(np.asarray(image)[:288, 64:448], 1 / 2)).save(path)
    return path


def take(address: str, picture: Path, scale: int, width: int, height: int) -> bytes:
    """A PNG of the page after it has enlarged a picture."""
    from playwright.sync_api import sync_playwright

    browser = find_browser()
    if browser is None:
        raise UserError(f'no browser: none of {", ".join(BROWSERS)} is installed; apt install chromium')
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(SWITCHES))
        page = chromium.new_page(viewport={'width': width, 'height': height})
        page.goto(address)
        page.set_input_files('#upload input[type=file]', picture)
        page.wait_for_selector('#preview img')
        page.click(f'#scale label:has-text("×{scale}")')
        page.click('#enlarge')
        page.wait_for_selector('#facts strong', timeout=600_000)
        page.mouse.move(0, 0)
        page.evaluate('window.scrollTo(0, 0)')
        page.wait_for_timeout(1500)  # the pictures are loaded and the slider is laid out
        shot = page.screenshot()
        chromium.close()
    return shot


def small(png: bytes) -> bytes:
    """The same as a PNG of 256 colours, where it is larger than `LARGEST`."""
    if len(png) <= LARGEST:
        return png
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert('RGB').quantize(256, dither=Image.Dither.NONE).save(buffer, 'PNG', optimize=True)
    return buffer.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Take the screenshot as the command line says. Returns the process's exit code."""
    parser = CommandLine(description='Takes a screenshot of the web demo.')
    parser.add_argument('--model', default=[], action='append', help='as for sst/demo.py; the first is shown')
    parser.add_argument('--picture', type=Path, help='another picture to enlarge')
    parser.add_argument('--scale', type=int, default=4, choices=(2, 3, 4))
    parser.add_argument('--size', type=int, nargs=2, default=(1200, 880), metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('-o', '--output', type=Path, default=Path('docs/images/demo.png'))
    args = parser.parse_args(argv)
    with in_one_line():
        models = [word for model in args.model for word in ('--model', model)]
        with tempfile.TemporaryDirectory() as folder, running_demo(*models) as address:
            png = small(take(address, args.picture or photograph(Path(folder)), args.scale, *args.size))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_bytes(png)
        print(f'{args.output}: {len(png):,} bytes')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
