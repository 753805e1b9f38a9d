"""What the tests of prepare_data.py share."""

import pytest

import prepare_data


@pytest.fixture
def refused(capsys):
    """Run a command that must end with exit code 2; returns its error lines."""

    def run(*arguments) -> str:
        with pytest.raises(SystemExit) as stop:
            prepare_data.main([str(argument) for argument in arguments])
        assert stop.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith('error: ')]
        assert errors
        return '\n'.join(line.removeprefix('error: ') for line in errors)

    return run


@pytest.fixture
def prepare():
    """Run a command that must succeed."""

    def run(*arguments) -> None:
        prepare_data.main([str(argument) for argument in arguments])

    return run
