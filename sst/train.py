"""Train a network: `python sst/train.py -opt options/train_SST_L_x2.yml`, or `sst-train` where sst is installed."""

import sys
from pathlib import Path


def main(root: Path | None = None) -> int:
    """Train as the command line says, with data and runs under `root` (default: the current folder)."""
    from sst.utils.starting import starting

    with starting():
        from sst.driver.run import run_training

    return run_training(root or Path.cwd())


if __name__ == '__main__':
    repository = Path(__file__).resolve().parents[1]
    # Python put sst/ itself on the path, where `import data` would find ours.
    sys.path[:] = [str(repository), *(entry for entry in sys.path if Path(entry).resolve() != repository / 'sst')]
    raise SystemExit(main(repository))
