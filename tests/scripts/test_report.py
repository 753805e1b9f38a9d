"""`scripts/report.py` on runs that are made up, and its page in a real browser."""

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from torch.utils.tensorboard import SummaryWriter

import report
from reporting.grid import Cell, Grid
from screenshot_demo import SWITCHES, find_browser
from sst.options import load_options

OPTIONS = Path(__file__).parents[2] / 'options'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A training run of SST-light, a test of it and a test of PFT, with images."""
    root = tmp_path_factory.mktemp('root')
    light = load_options(OPTIONS / 'test_SST_light_x2.yml')
    pft = load_options(OPTIONS / 'rivals/PFT.yml')
    trained = load_options(OPTIONS / 'train_SST_light_x2.yml')
    run = root / 'experiments/light run'
    run.mkdir(parents=True)
    (run / 'options.yml').write_text(yaml.safe_dump(trained | {'train': trained['train'] | {'total_iter': 400}}))
    (run / 'options_400.yml').write_text(yaml.safe_dump(trained))
    with SummaryWriter(str(run / 'tb_logger')) as writer:
        for step in range(1, 6):
            writer.add_scalar('losses/l_pix', 0.1 / step, 100 * step)
            writer.add_scalar('time', 0.2 if step > 1 else 9.0, 100 * step)
        writer.add_scalar('metrics/Set5/psnr', 37.5, 500)
    random = np.random.default_rng(0)
    for name, options, psnr in (('light', light, 38.21), ('pft <b>', pft, 38.6)):
        folder = root / 'results' / name
        pictures = folder / 'visualization/Set5'
        pictures.mkdir(parents=True)
        (folder / 'options.yml').write_text(yaml.safe_dump(options))
        sets = {
            'Set5': {'psnr': psnr, 'ssim': 0.961, 'images': 2},
            'Own & set': {'psnr': 'inf', 'ssim': 1.0, 'images': 1},
        }
        (folder / 'metrics.json').write_text(json.dumps(sets))
        for image in ('baby', 'bird'):
            cv2.imwrite(str(pictures / f'{image}_{name}.png'), random.integers(0, 256, (500, 400, 3), np.uint8))
    (root / 'results/unfinished').mkdir()
    hr = root / light['datasets']['test_1']['dataroot_gt']
    hr.mkdir(parents=True)
    cv2.imwrite(str(hr / 'baby.png'), random.integers(0, 256, (500, 400, 3), np.uint8))
    report.main(['--root', str(root), '--out', str(root / 'out'), '--images', '1'])
    return root


def rows_of(root, title):
    """The rows of a table of the CSV file, by the run's name."""
    text = (root / 'out/report.csv').read_text()
    block = text.split(f'{title}\n')[1].split('\n\n')[0]
    return {row['run']: row for row in csv.DictReader(io.StringIO(block))}


def test_figures_stand_beside_published_ones(root):
    rows = rows_of(root, 'x2: tests')
    assert set(rows) == {'light', 'pft <b>'}
    light, pft = rows['light'], rows['pft <b>']
    assert (light['model'], pft['model']) == ('SST-light', 'PFT')
    assert (light['Set5 PSNR'], light['Set5 PSNR (published)']) == ('38.21', '38.35')
    assert (pft['Set5 PSNR'], pft['Set5 PSNR (published)']) == ('38.60', '38.68')
    assert (pft['parameters (M)'], pft['parameters (M) (published)']) == ('19.624', '19.600')
    assert light['Own & set PSNR'] == 'inf'


def test_training_runs_are_told(root):
    row = rows_of(root, 'Training')['light run']
    assert row['iterations'] == '500 of 500,000'
    assert row['s/step'] == '0.2'  # the first, which contains the start, does not count
    assert row['loss'] == '0.02'
    assert row['validation'] == 'Set5 37.50 dB'
    assert row['model'] == 'SST-light x2'


def test_other_formats_hold_the_same(root):
    markdown = (root / 'out/report.md').read_text()
    assert '| light | SST-light | 0.893 <sub>0.893</sub> | 38.21 <sub>38.35</sub> |' in markdown
    assert '&lt;b>' in markdown
    latex = (root / 'out/report.tex').read_text()
    assert latex.count('\\begin{tabular}') == latex.count('\\end{tabular}') == 2
    assert 'Own \\& set' in latex


def test_the_page_shows_everything_in_a_browser(root):
    sync_api = pytest.importorskip('playwright.sync_api')
    path = find_browser()
    if path is None:
        pytest.skip('neither Chromium nor Chrome is installed')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        page = browser.new_page()
        asked, told = [], []
        page.on('request', lambda request: asked.append(request.url))
        page.on('console', lambda message: told.append(message.text))
        page.goto((root / 'out/report.html').as_uri())
        assert [url for url in asked if not url.startswith(('file:', 'data:'))] == []  # it holds all it shows
        assert told == []
        assert page.locator('table').count() == 2
        assert page.get_by_role('cell', name='pft <b>').count() == 1
        assert page.locator('svg').count() == 2  # loss and PSNR
        widths = page.locator('figure img').evaluate_all('images => images.map(image => image.naturalWidth)')
        assert widths == [288, 288, 288]  # one image of two tests, and its HR
        browser.close()


def test_runs_can_be_chosen(root, capsys):
    report.main(['--root', str(root), '--out', str(root / 'chosen'), '--runs', 'light'])
    told = capsys.readouterr().out
    assert 'SST-light' in told
    assert 'PFT' not in told


@pytest.mark.parametrize(('arguments', 'word'), [(['--runs', 'ligth'], 'light'), (['--root', 'nowhere'], 'nowhere')])
def test_what_is_not_there_is_refused(root, capsys, arguments, word):
    with pytest.raises(SystemExit) as ended:
        report.main(['--root', str(root), '--out', str(root / 'out'), *arguments])
    assert ended.value.code == 2
    assert word in capsys.readouterr().err


def test_letters_with_a_meaning_are_escaped():
    grid = Grid('title', ['a|b', 'c_d'])
    grid.add(Cell('x|y', '1 % & <2'), '3 ± 4')
    assert '| x\\|y <sub>1 % & &lt;2</sub> | 3 ± 4 |' in grid.markdown()
    assert 'x|y \\textcolor{gray}{1 \\% \\& <2} & 3 $\\pm$ 4 \\\\' in grid.latex()
    assert grid.csv().splitlines() == ['a|b,a|b (published),c_d', 'x|y,1 % & <2,3 ± 4']
    with pytest.raises(ValueError, match='headings'):
        grid.add('alone')
