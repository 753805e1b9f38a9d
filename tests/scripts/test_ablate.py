"""`scripts/ablate.py`: tables, runs that go on, runs that diverge."""

import json
import sys

import cv2
import numpy as np
import pytest
import yaml

import ablate
from ablating import budgets, running
from ablating.variants import OPTIONS, TITLES, variants
from sst.driver import run


@pytest.fixture
def root(tmp_path):
    """Pictures in place of the demo's photographs."""
    random = np.random.default_rng(0)
    for part, size in (('train', 64), ('val', 32)):
        for folder, pixels in (('HR', size), ('LR_bicubic/X2', size // 2)):
            path = tmp_path / 'datasets/demo' / part / folder
            path.mkdir(parents=True)
            for name in 'ab':
                file = f'{name}.png' if folder == 'HR' else f'{name}x2.png'
                cv2.imwrite(str(path / file), random.integers(0, 256, (pixels, pixels, 3), np.uint8))
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """The programs run in this process; gives which were called, with which arguments."""
    monkeypatch.setattr(sys, 'argv', ['sst/train.py'])
    made = []

    def called(program, arguments, root):
        training = program == running.TRAIN
        made.append(('train' if training else 'test', list(arguments)))
        return (run.run_training if training else run.run_testing)(root, arguments), 'an error'

    monkeypatch.setattr(running, 'call', called)
    monkeypatch.setattr(running, 'add_inference', lambda outcome, options, device: None)
    return made


def start(root, *arguments):
    ablate.main([*arguments, '--root', str(root), '--out', str(root / 'out')])
    return json.loads((root / 'out/demo/ablations.json').read_text())


def test_every_ablation_is_in_a_table():
    listed = {variant.file for table in TITLES for variant in variants(table)}
    assert {f'ablations/{path.name}' for path in (OPTIONS / 'ablations').glob('*.yml')} <= listed
    assert all((OPTIONS / file).is_file() for file in listed)


def test_a_table_is_trained_once(root, calls, capsys):
    first = start(root, 'gate', '--iterations', '2', '--seeds', '2')
    assert [kind for kind, _ in calls] == ['train', 'test'] * 6
    assert [(row['seed'], row['end'], row['iteration']) for row in first['runs']] == [
        (seed, 'finished', 2) for seed in (0, 0, 0, 1, 1, 1)
    ]
    assert set(first['psnr']['gate']) == {'no gate', 'pointwise alone', 'CLA'}
    assert all(len(values) == 2 for values in first['psnr']['gate'].values())
    capsys.readouterr()

    calls.clear()
    again = start(root, 'gate', '--iterations', '2', '--seeds', '2')
    assert calls == []
    assert again['runs'] == first['runs']
    table = capsys.readouterr().out
    assert '34.55 / 0.9473' in table  # published
    assert f'{np.mean(first["psnr"]["gate"]["CLA"]):.2f} ± ' in table
    markdown = (root / 'out/demo/ablations.md').read_text()
    assert '| CLA | 2 |' in markdown
    assert (root / 'out/demo/ablations.png').stat().st_size > 1000
    assert '\\begin{tabular}' in (root / 'out/demo/ablations.tex').read_text()

    start(root, 'gate', '--iterations', '3')  # other options: the runs begin anew
    assert [kind for kind, _ in calls] == ['train', 'test'] * 3
    assert not any('--auto_resume' in arguments for _, arguments in calls)


def test_an_interrupted_run_goes_on(root, calls, monkeypatch):
    original = running.call

    def interrupted(program, arguments, root):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(program, arguments, root)

    monkeypatch.setattr(running, 'call', interrupted)
    with pytest.raises(SystemExit) as ended:
        start(root, 'gate', '--iterations', '2')
    assert ended.value.code == 130
    outcome = json.loads((root / 'out/demo/ablations.json').read_text())
    assert [row['name'] for row in outcome['runs']] == ['demo_ablation_gate_none_seed0']

    monkeypatch.setattr(running, 'call', original)
    calls.clear()
    start(root, 'gate', '--iterations', '2')
    assert [kind for kind, _ in calls] == ['train', 'test'] * 2
    assert '--auto_resume' in calls[0][1]  # it had begun
    assert '--auto_resume' not in calls[2][1]


def test_a_run_that_diverges_is_a_result(root, calls, monkeypatch, capsys):
    original = budgets.demo_options

    def too_fast(variant, *others):
        options = yaml.safe_load(original(variant, *others))
        if variant.stem == 'gate_none':
            train = {'optim_g': {'lr': 1e30}, 'grad_clip': None, 'warmup_iter': -1, 'max_bad_steps': 1}
            options['train'] |= train
        return yaml.safe_dump(options)

    monkeypatch.setattr(ablate, 'demo_options', too_fast)
    outcome = start(root, 'gate', '--iterations', '4')
    ends = {row['name']: row['end'] for row in outcome['runs']}
    assert ends['demo_ablation_gate_none_seed0'] == 'diverged'
    assert ends['demo_train_SST_x2_seed0'] == 'finished'
    assert 'not converged after iteration' in (root / 'out/demo/ablations.md').read_text()
    calls.clear()
    start(root, 'gate', '--iterations', '4')  # nor is it tried again
    assert calls == []


def test_a_run_that_fails_says_why_and_is_tried_again(root, calls, monkeypatch, capsys):
    monkeypatch.setattr(running, 'call', lambda *_: (2, 'a disk is full'))
    with pytest.raises(SystemExit) as ended:
        start(root, 'gate', '--iterations', '2')
    assert ended.value.code == 1
    assert 'a disk is full' in capsys.readouterr().out


def test_published_settings_are_commands(root, calls, capsys):
    ablate.main(['5', 'rank', '--budget', 'paper', '--seeds', '2', '--root', str(root), '--out', str(root / 'out')])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('torchrun ')]
    assert len(lines) == len(set(lines)) == 2 * (1 + 2 + 3 + 3 + 5)  # the base stands in every table
    assert lines[0] == 'torchrun --nproc_per_node=4 sst/train.py -opt options/ablations/gate_none.yml --auto_resume'
    assert 'options/train_SST_x2.yml' in ' '.join(lines)
    assert lines[-1].endswith('--force_yml name=ablation_rank_64_seed1 manual_seed=1')
    assert calls == []


@pytest.mark.parametrize(('table', 'words'), [('gates', ['gates', 'gate']), ('6', ['6', 'bias'])])
def test_unknown_tables_are_refused(root, capsys, table, words):
    with pytest.raises(SystemExit) as ended:
        start(root, table)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert all(word in told for word in words)


def test_missing_photographs_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        start(tmp_path, 'gate')
    assert ended.value.code == 2
    assert 'prepare_data.py demo' in capsys.readouterr().err


@pytest.mark.parametrize('table', TITLES)
def test_demo_networks_keep_what_a_table_compares(table):
    """At the demo's size the rows still differ from each other."""
    rows = [budgets.demo_network(budgets.load_options(variant.path)['network_g']) for variant in variants(table)]
    texts = [json.dumps({k: v for k, v in row.items() if k != 'backend'}, sort_keys=True) for row in rows]
    assert len(set(texts)) == len(rows) - (table == 'bias')  # RPB stands there twice
