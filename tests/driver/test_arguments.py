"""The command line takes BasicSR's flags."""

import pytest

from sst.driver.arguments import parse_arguments


def test_defaults():
    args = parse_arguments(True, ['-opt', 'a.yml'])
    assert vars(args) == {
        'opt': 'a.yml',
        'launcher': None,
        'auto_resume': False,
        'debug': False,
        'force_yml': [],
        'dry_run': False,
        'local_rank': 0,
    }


def test_basicsr_flags():
    args = parse_arguments(
        True,
        [
            '-opt',
            'a.yml',
            '--launcher',
            'pytorch',
            '--auto_resume',
            '--debug',
            '--local-rank=3',
            '--force_yml',
            'a:b=1',
            'c=2',
            '--force_yml',
            'd=3',
            '--dry-run',
        ],
    )
    assert (args.launcher, args.auto_resume, args.debug, args.dry_run) == ('pytorch', True, True, True)
    assert args.force_yml == ['a:b=1', 'c=2', 'd=3']
    assert args.local_rank == 3
    assert parse_arguments(False, ['-opt', 'a.yml', '--local_rank', '2']).local_rank == 2


@pytest.mark.parametrize(
    'argv',
    [[], ['-opt'], ['-opt', 'a.yml', '--launcher', 'mpi'], ['-opt', 'a.yml', '--auto']],
    ids=['no -opt', 'no file', 'unknown launcher', 'abbreviation'],
)
def test_faults_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(True, argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'sst/train.py --help' in line


def test_spellings_with_hyphens():
    args = parse_arguments(True, ['-opt', 'a.yml', '--auto-resume', '--force-yml', 'a=1', '--dry_run'])
    assert (args.auto_resume, args.force_yml, args.dry_run) == (True, ['a=1'], True)
