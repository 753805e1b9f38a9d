"""How fast the training samples of an option file load: samples per second of one core, and how many cores a run needs.

`python scripts/benchmark_loading.py -opt options/train_SST_L_x2.yml --step 0.25`: the last is seconds per iteration.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from sst.data import build_dataset  # after the repository is on the path
from sst.data.stream import StreamDataset, StreamSampler
from sst.driver import preflight
from sst.options import checked_options
from sst.utils.command_line import CommandLine, add_force_yml_argument
from sst.utils.errors import UserError, in_one_line

ROOT = Path(__file__).resolve().parents[1]


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file to train with')
    add_force_yml_argument(parser)
    parser.add_argument('--samples', type=int, default=200, help='how many to load (%(default)s)')
    parser.add_argument('--step', type=float, default=0.25, help='seconds of an iteration (%(default)s)')
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> None:
    """Load the first samples of the run, in this process.

    Raises:
        UserError: faulty options, or data that is missing.
    """
    options = checked_options(args.opt, args.force_yml)
    if options.train is None:
        raise UserError(f'{args.opt}: no train section; give a file that sst/train.py takes')
    preflight.resolve_paths(options, ROOT)
    if faults := list(preflight.missing_in('train', options.datasets.train, ROOT)):
        raise UserError('\n'.join(f'missing: {line}' for line in faults))
    data = options.plain()['datasets']['train'] | {'phase': 'train', 'scale': options.scale}
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    rate = measure(build_dataset(data), options.manual_seed or 0, args.samples)
    needed = data['batch_size'] / args.step
    print(f'{data["name"]}: {rate:.1f} samples/s of one core ({1000 / rate:.1f} ms each)')
    print(f'batch {data["batch_size"]} every {args.step} s is {needed:.0f} samples/s: {needed / rate:.1f} cores')


def measure(dataset: torch.utils.data.Dataset, seed: int, samples: int) -> float:
    """Samples per second of the processor's time, which other programs on the machine do not slow down."""
    stream = StreamDataset(dataset, seed)
    places = iter(StreamSampler(len(stream), 1, seed, total_iter=samples + 1))
    stream[next(places)]  # opens databases
    start = time.process_time()
    for place in tqdm(places, total=samples, unit='sample', disable=None):
        stream[place]
    return samples / (time.process_time() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    with in_one_line():
        run(read_arguments(arguments))


if __name__ == '__main__':
    main()
