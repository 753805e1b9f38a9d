"""The command line of training and testing: BasicSR's flags, and `--dry-run`."""

import argparse
from collections.abc import Sequence

from sst.utils.command_line import CommandLine, add_force_yml_argument


def parse_arguments(is_train: bool, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse `argv` (default: the process's own). For a fault, one line says why and the exit code is 2."""
    script, verb = ('sst/train.py', 'train') if is_train else ('sst/test.py', 'test')
    parser = CommandLine(prog=script, description=f'{verb} a network as an option file says', allow_abbrev=False)
    parser.add_argument('-opt', required=True, metavar='FILE', help=f'option file, as options/{verb}....yml')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        help='who started the processes (default: found from the environment)',
    )
    parser.add_argument(
        '--auto_resume',
        '--auto-resume',
        action='store_true',
        help='go on from the newest state in experiments/<name>/training_states, where there is one',
    )
    parser.add_argument(
        '--debug', action='store_true', help='name the run debug_<name>, log every iteration, validate and save every 8'
    )
    add_force_yml_argument(parser)
    parser.add_argument(
        '--dry-run', '--dry_run', action='store_true', help='check everything, print the plan, write nothing'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='accepted and not needed')
    return parser.parse_args(argv)
