import csv
import json

import numpy as np
import pytest

import demo_report
from comparison import Panel, draw_comparison
from prepare.images import write_image
from sst.models.evaluation import Row, write_results

# image, bicubic PSNR and SSIM, SST PSNR and SSIM
SCORES = [('catx2', 30.0, 0.90, 31.5, 0.92), ('dogx2', 28.0, 0.80, 30.5, 0.85)]


def picture(height=90, width=120, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def arguments(tmp_path):
    """A validation set and the results of both tests on it."""
    for name, column in (('test_demo_bicubic', 1), ('test_demo', 3)):
        folder = tmp_path / 'results' / name
        for seed, scores in enumerate(SCORES):
            write_image(folder / 'visualization' / 'demo' / f'{scores[0]}_{name}.png', picture(seed=10 * column + seed))
        with (folder / 'metrics.csv').open('w', newline='') as file:
            rows = [('demo', scores[0], scores[column], scores[column + 1]) for scores in SCORES]
            csv.writer(file).writerows([('set', 'image', 'psnr', 'ssim'), *rows])
        average = {'psnr': np.mean([row[2] for row in rows]), 'ssim': np.mean([row[3] for row in rows]), 'images': 2}
        (folder / 'metrics.json').write_text(json.dumps({'demo': average}))
    for seed, scores in enumerate(SCORES):
        write_image(tmp_path / 'val' / 'HR' / f'{scores[0][:-2]}.png', picture(seed=seed))
        write_image(tmp_path / 'val' / 'LR_bicubic' / 'X2' / f'{scores[0]}.png', picture(45, 60))
    options = {'sst': 'results/test_demo', 'bicubic': 'results/test_demo_bicubic', 'data': 'val', 'output': 'out'}
    return [part for name, path in options.items() for part in (f'--{name}', str(tmp_path / path))]


def test_table_and_pictures(arguments, tmp_path, capsys):
    demo_report.main(arguments)
    lines = [line.split() for line in capsys.readouterr().out.replace('│', ' ').splitlines()]
    rows = {words[0]: ' '.join(words[1:]) for words in lines if words}
    assert rows['cat'] == '30.00 / 0.9000 31.50 / 0.9200 +1.50 / +0.0200'
    assert rows['dog'] == '28.00 / 0.8000 30.50 / 0.8500 +2.50 / +0.0500'
    assert rows['average'] == '29.00 / 0.8500 31.00 / 0.8850 +2.00 / +0.0350'
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['cat.png', 'dog.png']


def test_exact_pictures(arguments, tmp_path, capsys):
    for name in ('test_demo_bicubic', 'test_demo'):
        rows = [Row(index, scores[0], {'psnr': float('inf'), 'ssim': 1.0}) for index, scores in enumerate(SCORES)]
        write_results(str(tmp_path / 'results' / name), {'demo': rows})
    demo_report.main(arguments)
    assert capsys.readouterr().out.count('+0.00 / +0.0000') == 3


@pytest.mark.parametrize(
    'damage', ['results/test_demo/metrics.json', 'results/test_demo_bicubic/metrics.csv', 'val/HR/cat.png']
)
@pytest.mark.parametrize('how', ['missing', 'cut off'])
def test_incomplete_results_say_what_to_run(arguments, tmp_path, capsys, damage, how):
    if how == 'missing':
        (tmp_path / damage).unlink()
    else:
        (tmp_path / damage).write_bytes(b'{')
    with pytest.raises(SystemExit) as stop:
        demo_report.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'run: bash scripts/demo.sh' in error


def test_different_pictures_are_refused(arguments, tmp_path, capsys):
    path = tmp_path / 'results/test_demo/metrics.csv'
    path.write_text(''.join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(SystemExit):
        demo_report.main(arguments)
    assert 'different pictures' in capsys.readouterr().err


@pytest.mark.parametrize('shape', [(90, 120), (7, 300), (300, 7), (1, 1)])
def test_any_size_can_be_drawn(shape):
    panels = [Panel(f'title {i}', 'caption', picture(*shape, seed=i)) for i in range(4)]
    drawn = draw_comparison('name', panels)
    assert drawn.width < 2000
    crop = np.asarray(drawn)[-150, -150]  # inside the last crop
    assert (panels[-1].picture == crop).all(axis=2).any()
