"""What it saves that programs keep the memory they free: `sst-upscale` on a photograph, by turns with and without."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from PIL import Image
from skimage import data

from sst.utils.command_line import CommandLine  # after the repository is on the path

ROOT = Path(__file__).resolve().parents[1]
# glibc's own value: it changes nothing, except that our programs then leave the allocator alone.
WAYS = {'given back': {'MALLOC_TOP_PAD_': '131072'}, 'kept': {}}


def measure(picture: Path, environment: dict[str, str], folder: Path) -> str:
    """A row of the table: of a process that enlarges the picture by 2."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
    command = [sys.executable, 'sst/upscale.py', str(picture), '-o', str(folder), '-n', 'SST-tiny-x2']
    begin = time.perf_counter()
    started = subprocess.Popen([*command, '--device', 'cpu'], cwd=ROOT, env=inherited | environment)
    _, status, used = os.wait4(started.pid, 0)
    if status:
        raise SystemExit('sst-upscale failed, see above')
    seconds, share = time.perf_counter() - begin, used.ru_stime / (used.ru_utime + used.ru_stime)
    return (
        f'{seconds:.1f} s, of the CPU {used.ru_utime:.1f} s for itself and {used.ru_stime:.1f} s in the kernel '
        f'({share:.0%}); at most {used.ru_maxrss / 1024:.0f} MB; {used.ru_minflt:,} page faults'
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__)
    parser.add_argument('--width', type=int, default=1920)
    parser.add_argument('--height', type=int, default=960)
    parser.add_argument('--rounds', type=int, default=1)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, 'coffee.png')
        Image.fromarray(data.coffee()).resize((args.width, args.height)).save(picture)
        for _ in range(args.rounds):
            for name, environment in WAYS.items():
                print(f'memory {name}: {measure(picture, environment, Path(folder, "results"))}', flush=True)


if __name__ == '__main__':
    main()
