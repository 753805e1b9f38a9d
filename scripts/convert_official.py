"""Turns released SST files into ours: weights (.pth) and option files (.yml).

Released weights also load as they are. Converted ones have our names and, with --options, the options of the network,
because no weight shows the windows by its shape.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from sst.checkpoints.weights import read_weights  # after the repository is on the path
from sst.options import load_options
from sst.options.imports import load_parts
from sst.options.reading import read_file
from sst.options.released import network_options
from sst.options.translation import translate, why_not_needed
from sst.utils.command_line import CommandLine, add_imports_argument
from sst.utils.errors import UserError, in_one_line
from sst.utils.files import atomic_save, atomic_write_text

KEPT = ('name', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'path', 'train', 'val', 'logger')
PATHS = ('pretrain_network_g', 'param_key_g', 'strict_load_g', 'resume_state')


def convert_options(released: Mapping, gpus: int) -> dict:
    """Our options for a released option file.

    Args:
        released (Mapping): the file's content.
        gpus (int): the processes that it was written for; our batch size is the total over all of them.
    """
    network_options(released['network_g'])  # raises what is missing
    ours = deepcopy({key: value for key, value in released.items() if key in KEPT and value is not None})
    for _ in translate(ours, gpus):
        pass
    ours.setdefault('scale', ours['network_g']['scale'])
    ours['path'] = {key: value for key, value in ours.get('path', {}).items() if key in PATHS}
    for section, dataset in ours.get('datasets', {}).items():
        for key in [key for key in dataset or () if why_not_needed(('datasets', section, key))]:
            del dataset[key]
    return ours


def read_yaml(path: Path) -> dict:
    """A released option file. Raises UserError for another file."""
    content = read_file(path)
    if not isinstance(content.get('network_g'), dict):
        raise UserError(f'{path}: is no released option file: it has no network_g section')
    sections = {key: content.get(key) for key in ('datasets', 'path')}
    if isinstance(sections['datasets'], dict):
        sections |= {f'datasets.{name}': options for name, options in sections['datasets'].items()}
    for place, section in sections.items():
        if not isinstance(section, dict | None):
            raise UserError(f'{path}: {place} must be a section, not {section!r}')
    return content


def convert(path: Path, folder: Path, options: Path | None, gpus: int) -> Path:
    """Convert one file into `folder`; returns the new file."""
    target = folder / path.name
    if target.resolve() == path.resolve():
        raise UserError(f'{path}: would be overwritten; give another --output')
    if path.suffix in ('.yml', '.yaml'):
        text = yaml.safe_dump(convert_options(read_yaml(path), gpus), sort_keys=False)
        atomic_write_text(target, text)
        try:
            load_options(target)
        except UserError:
            target.unlink()
            raise
    else:
        content: dict = {}
        for key in ('params', 'params_ema'):
            try:
                content[key] = read_weights(str(path), key).state
            except UserError:
                continue
        content = content or {'params': read_weights(str(path)).state}
        if options:
            content['network_g'] = network_options(read_yaml(options)['network_g'])
        atomic_save(content, target)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='+', type=Path, metavar='FILE', help='released .pth or .yml files')
    parser.add_argument('--output', required=True, type=Path, help='folder for the converted files')
    parser.add_argument('--options', type=Path, help='released option file of the weights, kept with them')
    add_imports_argument(parser)
    parser.add_argument('--gpus', type=int, default=4, help='GPUs that the option files were written for (default: 4)')
    args = parser.parse_args(arguments)
    with in_one_line():
        load_parts(args.imports)
        args.output.mkdir(parents=True, exist_ok=True)
        try:
            for path in args.files:
                print(f'{path} -> {convert(path, args.output, args.options, args.gpus)}')
        except ValueError as error:
            raise UserError(str(error)) from error


if __name__ == '__main__':
    main()
