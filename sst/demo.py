"""Enlarge pictures in the browser: `python sst/demo.py`, or `sst-demo` where sst is installed."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Show the page until Ctrl-C. Returns the process's exit code: 2 where it cannot be shown."""
    from sst.utils.starting import starting

    with starting():
        from sst.upscaling.web.arguments import parse
        from sst.upscaling.web.models import load_models
        from sst.upscaling.web.serving import require_gradio, serve
        from sst.utils.errors import in_one_line

    with in_one_line():
        args = parse(argv)
        require_gradio()
        models = load_models(args.models, args.device, args.dtype)
        serve(models, args.host, args.port, args.max_megapixels, args.max_disk, args.allow_host)
    return 0


if __name__ == '__main__':
    repository = Path(__file__).resolve().parents[1]
    # Python put sst/ itself on the path, where `import data` would find ours.
    sys.path[:] = [str(repository), *(entry for entry in sys.path if Path(entry).resolve() != repository / 'sst')]
    raise SystemExit(main())
