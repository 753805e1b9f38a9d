"""What a weights file holds: `python sst/info.py FILE...`, or `sst-info FILE...` where sst is installed."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Print what each file holds. Returns the process's exit code: 2 where one could not be read."""
    from sst.utils.starting import starting

    with starting():
        from sst.checkpoints.description import describe
        from sst.checkpoints.networks import network_in_options
        from sst.checkpoints.sources import find_weights, shipped
        from sst.options.imports import load_parts
        from sst.utils.command_line import CommandLine, add_network_arguments
        from sst.utils.errors import UserError, in_one_line
        from sst.utils.json_text import json_text
        from sst.utils.visible import visible

    parser = CommandLine(
        prog='sst-info', description='Says what weights files hold: model, scale, windows, training data.'
    )
    names = ', '.join(shipped()) or 'none'
    help_text = f'.pth or .safetensors file of any origin, hf://owner/repo/file, or shipped weights ({names})'
    parser.add_argument('files', nargs='+', metavar='FILE', help=help_text)
    parser.add_argument('--json', action='store_true', help='a JSON list, with all options of the networks')
    add_network_arguments(parser)
    args = parser.parse_args(argv)
    with in_one_line():
        load_parts(args.imports)
        network = network_in_options(args.network)
    found, code = [], 0
    for file in args.files:
        try:
            found.append(describe(find_weights(file), args.param_key, network))
        except UserError as error:
            code = 2
            print(*(f'error: {visible(fault)}' for fault in error.faults), sep='\n', file=sys.stderr)
    if args.json:
        print(json_text(found, indent=2, default=str))
    else:
        print('\n\n'.join(text(about) for about in found), end='\n' if found else '')
    return code


def text(about: dict) -> str:
    """What `describe` found, for people: one line per fact."""
    from sst.utils.visible import visible

    entry = f' ({about["entry"]} of {" and ".join(about["entries"])})' if about['entries'] else ''
    windows = ' '.join(map(str, about['windows'])) if about['windows'] else 'unknown, no shape shows them'
    names = {'ours': 'of this codebase', 'released': 'of the released files', 'other': 'of another network'}
    rows = {
        'file': f'{about["file"]}, {about["bytes"]:,} bytes, {about["format"]}',
        'model': about['model'] or 'unknown',
        'scale': f'x{about["scale"]}' if about['scale'] else 'unknown',
        'windows': windows if about['names'] != 'other' else '-',
        'parameters': f'{about["parameters"]:,} of {", ".join(about["dtype"])}{entry}',
        'names': names[about['names']],
        'training data': 'unknown',
    }
    rows |= {str(key).replace('_', ' '): value for key, value in about['metadata'].items()}
    return '\n'.join(f'{visible(key):<14} {visible(value)}' for key, value in rows.items())


if __name__ == '__main__':
    repository = Path(__file__).resolve().parents[1]
    # Python put sst/ itself on the path, where `import data` would find ours.
    sys.path[:] = [str(repository), *(entry for entry in sys.path if Path(entry).resolve() != repository / 'sst')]
    raise SystemExit(main())
