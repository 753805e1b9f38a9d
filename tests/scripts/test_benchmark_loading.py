import re
from pathlib import Path

import pytest
from stored import noise, write_folder

import benchmark_loading

OPTIONS = Path(__file__).parents[2] / 'options' / 'finetune.yml'


def test_rate_and_need(tmp_path, capsys):
    root = write_folder(tmp_path, {'a.png': noise(40, 40), 'b.png': noise(20, 300)})
    changes = [f'datasets:train:dataroot_gt={root}', 'datasets:train:gt_size=32']
    benchmark_loading.main(['-opt', str(OPTIONS), '--samples', '5', '--step', '0.1', '--force_yml', *changes])
    rate, need = capsys.readouterr().out.splitlines()
    assert re.match(r'own: [\d.]+ samples/s of one core \([\d.]+ ms each\)', rate)
    assert re.match(r'batch 8 every 0\.1 s is 80 samples/s: [\d.]+ cores', need)


def test_missing_data_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark_loading.main(['-opt', str(OPTIONS), '--force_yml', f'datasets:train:dataroot_gt={tmp_path}/none'])
    assert stop.value.code == 2
    assert re.match(r'error: missing: \S+/none .*no such folder[^\n]*\n$', capsys.readouterr().err)
