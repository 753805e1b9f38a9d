"""Enlarge pictures and videos: `python sst/upscale.py INPUT... -o OUT`, or `sst-upscale` where sst is installed."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Enlarge what the command line names. Returns the process's exit code: 1 where some files failed, 2 where all that
    was asked for makes no sense, 130 after Ctrl-C."""
    from sst.utils.starting import starting

    with starting():
        from sst.upscaling.arguments import parse
        from sst.upscaling.run import run
        from sst.utils.errors import in_one_line

    with in_one_line('interrupted; what is finished stays: type the same with --skip-existing to go on', single=True):
        return run(parse(argv))


if __name__ == '__main__':
    repository = Path(__file__).resolve().parents[1]
    # Python put sst/ itself on the path, where `import data` would find ours.
    sys.path[:] = [str(repository), *(entry for entry in sys.path if Path(entry).resolve() != repository / 'sst')]
    raise SystemExit(main())
