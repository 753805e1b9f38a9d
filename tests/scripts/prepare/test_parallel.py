import os

import pytest

from prepare.parallel import Faults, FileError, run_jobs
from sst.utils.errors import UserError


def work(number):
    if number % 10 == 3:
        raise FileError(f'{number}: odd')
    if number == 77:
        os._exit(1)
    return number * number


@pytest.mark.parametrize('workers', [1, 2, 3])
def test_results_come_in_order_and_faults_are_kept(workers):
    faults = Faults()
    results = list(run_jobs(work, range(60), 'numbers', workers, faults))
    assert results == [number * number for number in range(60) if number % 10 != 3]
    assert faults.lines == [f'{number}: odd' for number in range(3, 60, 10)]
    with pytest.raises(UserError, match=r'(?s)^3: odd\n.*53: odd\n6 of the files failed; mend them$'):
        faults.raise_all('mend them')


def test_many_faults_are_counted():
    faults = Faults()
    faults.lines = [str(number) for number in range(1000)]
    with pytest.raises(UserError, match=r'and 980 more like these\n1000 of the files failed; stop$') as stop:
        faults.raise_all('stop')
    assert len(str(stop.value).splitlines()) == 22


def test_nothing_to_do():
    assert list(run_jobs(work, [], 'numbers', 2, Faults())) == []


def test_a_killed_worker_is_one_line():
    with pytest.raises(UserError, match='^a worker was killed [^\n]*$'):
        list(run_jobs(work, range(100), 'numbers', 2, Faults()))
