"""Test a network: `python sst/test.py -opt options/test.yml`, or `sst-test` where sst is installed."""

import sys
from pathlib import Path


def main(root: Path | None = None) -> int:
    """Test as the command line says, with data and results under `root` (default: the current folder)."""
    from sst.utils.starting import starting

    with starting():
        from sst.driver.run import run_testing

    return run_testing(root or Path.cwd())


if __name__ == '__main__':
    repository = Path(__file__).resolve().parents[1]
    # Python put sst/ itself on the path, where `import data` would find ours.
    sys.path[:] = [str(repository), *(entry for entry in sys.path if Path(entry).resolve() != repository / 'sst')]
    raise SystemExit(main(repository))
