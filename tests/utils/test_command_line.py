"""What a wrong command line is answered."""

import argparse

import pytest

from sst.utils.command_line import CommandLine


def answer(parser, capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def parser():
    parser = CommandLine(prog='enlarge')
    parser.add_argument('inputs', nargs='*')
    parser.add_argument('--tile', type=int)
    parser.add_argument('--dry-run', action='store_true')
    parser.add_argument('--self-ensemble', action='store_true')
    return parser


@pytest.mark.parametrize(
    ('argv', 'end'),
    [
        (['--tyle', '3'], 'did you mean --tile?'),
        (['--tyle=3'], 'did you mean --tile?'),
        (['--tyle', '3', '--dryrun'], 'did you mean --tile?; did you mean --dry-run?'),
        (['--self-ens', '--nothing'], 'type enlarge --help for all options'),
        (['--tile', '3\x1b'], 'type enlarge --help for all options'),
    ],
    ids=' '.join,
)
def test_close_options_are_named(parser, capsys, argv, end):
    line = answer(parser, capsys, *argv)
    assert line.startswith('error: ')
    assert line.split('; ', 1)[1] == end
    assert '\x1b' not in line


def test_options_of_a_subcommand(capsys):
    parser = CommandLine(prog='prepare')
    command = parser.add_subparsers(dest='command', required=True).add_parser('lr')
    command.add_argument('--scales', type=int)
    assert answer(parser, capsys, 'lr', '--scale', 'x').endswith('type prepare lr --help for all options')
    assert answer(parser, capsys, 'lr', '--scakes', '2').endswith('; did you mean --scales?')
    assert parser.parse_args(['lr', '--scales', '2']) == argparse.Namespace(command='lr', scales=2)


def test_a_file_without_its_option(capsys):
    parser = CommandLine()
    parser.add_argument('-opt', required=True)
    parser.add_argument('--debug', action='store_true')
    parser.add_argument('--force_yml', nargs='+')
    assert answer(parser, capsys, '--debug', 'a.yml').endswith('; name it with -opt: -opt a.yml')
    assert '-opt a=1' not in answer(parser, capsys, '--force_yml', 'a=1', 'b=2')
    assert answer(parser, capsys, '-otp', 'a.yml').endswith('; did you mean -opt?')


def test_a_file_that_is_another_argument(capsys):
    parser = CommandLine()
    parser.add_argument('weights')
    parser.add_argument('-o', required=True)
    assert '-o a.pth' not in answer(parser, capsys, 'a.pth')
