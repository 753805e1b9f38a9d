import os

import pytest

from prepare.parallel import FileError, raise_faults, run_jobs
from sst.utils.errors import UserError


def work(number):
    if number % 10 == 3:
        raise FileError(f'{number}: odd')
    if number == 77:
        os._exit(1)
    return number * number


@pytest.mark.parametrize('workers', [1, 2, 3])
def test_results_come_in_order_and_faults_are_kept(workers):
    faults = []
    results = list(run_jobs(work, range(60), 'numbers', workers, faults))
    assert results == [number * number for number in range(60) if number % 10 != 3]
    assert faults == [f'{number}: odd' for number in range(3, 60, 10)]


@pytest.mark.parametrize(('count', 'lines'), [(6, 7), (1000, 22)])
def test_faults_are_listed_and_counted(count, lines):
    with pytest.raises(UserError) as stop:
        raise_faults([f'{number}: odd' for number in range(count)], 'stop')
    assert str(stop.value).startswith('0: odd\n1: odd\n')
    assert len(str(stop.value).splitlines()) == lines
    assert str(stop.value).splitlines()[-1].startswith(f'{count} ')


def test_without_jobs_and_faults_nothing_happens():
    assert list(run_jobs(work, [], 'numbers', 2, [])) == []
    raise_faults([], 'stop')


def test_a_killed_worker_is_one_line():
    with pytest.raises(UserError, match='^[^\n]*--jobs[^\n]*$'):
        list(run_jobs(work, range(100), 'numbers', 2, []))
