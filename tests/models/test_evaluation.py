import csv
import json

import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_niqe, calculate_psnr
from basicsr.utils import tensor2img

from sst.models.evaluation import Row, average, evaluate, write_results
from sst.utils.errors import UserError

PSNR = {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True, 'better': 'higher'}


class Pictures(torch.utils.data.Dataset):
    def __init__(self, count, with_gt=True, size=(6, 7)):
        self.count, self.with_gt, self.size = count, with_gt, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        item = {'lq': torch.rand(3, *self.size, generator=generator), 'lq_path': f'folder/p{index}.png'}
        if self.with_gt:
            item['gt'] = torch.rand(3, 12, 14, generator=generator)
        return item


def predict(batch):
    return torch.nn.functional.interpolate(batch['lq'], scale_factor=2)


def test_rows_hold_basicsrs_figures_of_8_bit_pictures():
    rows = evaluate(Pictures(2), predict, {'psnr': PSNR}, num_workers=0)
    item = Pictures(2)[1]

    def image(tensor):
        return (tensor.numpy().transpose(1, 2, 0)[..., ::-1] * 255).round().astype(np.uint8)

    expected = calculate_psnr(image(predict({'lq': item['lq'][None]})[0]), image(item['gt']), 2, test_y_channel=True)
    assert rows[1].image == 'p1'
    assert rows[1].values['psnr'] == pytest.approx(expected, rel=1e-12)


def test_workers_change_nothing():
    assert evaluate(Pictures(3), predict, {'psnr': PSNR}, num_workers=2) == evaluate(
        Pictures(3), predict, {'psnr': PSNR}, num_workers=0
    )


def test_each_process_takes_its_share():
    seen = []
    evaluate(Pictures(5), predict, {}, rank=0, num_workers=0, on_image=lambda p: seen.append((p.index, p.sr.shape)))
    assert sorted(seen) == [(i, (12, 14, 3)) for i in range(5)]


def test_a_set_without_hr_has_the_figures_that_need_none():
    metrics = {'psnr': PSNR, 'niqe': {'type': 'calculate_niqe', 'crop_border': 0, 'better': 'lower'}}
    large = Pictures(1, with_gt=False, size=(100, 110))
    (row,) = evaluate(large, predict, metrics, num_workers=0)
    sr = tensor2img([predict({'lq': large[0]['lq'][None]})])
    assert row.values == {'niqe': pytest.approx(float(calculate_niqe(sr, 0)), rel=1e-9)}
    rows = evaluate(Pictures(1, with_gt=False), predict, {'psnr': PSNR}, num_workers=0)
    assert rows == [Row(0, 'p0', {})]
    assert average(rows) == {}


class Faulty(Pictures):
    def __init__(self, fault):
        super().__init__(3)
        self.paths = [{'gt_path': f'HR/p{index}.png'} for index in range(3)]
        self.fault = fault

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return self.fault(item) if index == 1 else item


def unreadable(item):
    raise AttributeError("'NoneType' object has no attribute 'astype'")


def larger(item):
    return item | {'gt': torch.rand(3, 14, 14)}


def tiny(item):
    return item | {'gt': torch.rand(3, 4, 4), 'lq': torch.rand(3, 2, 2)}


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize(
    ('fault', 'says'),
    [
        (unreadable, r'evaluation picture HR/p1\.png cannot be used'),
        (larger, 'p1.*14x12.*14x14'),
        (tiny, 'p1.*4x4 pixels, the metrics need 5'),
    ],
)
def test_a_picture_that_cannot_be_measured_is_one_line(fault, says, workers):
    with pytest.raises(UserError, match=f'^[^\n]*{says}[^\n]*$'):
        evaluate(Faulty(fault), predict, {'psnr': PSNR}, num_workers=workers)


def test_files(tmp_path):
    rows = [Row(0, 'baby', {'psnr': 30.125, 'ssim': 0.5}), Row(1, 'bird', {'psnr': 31.0, 'ssim': 0.75})]
    write_results(str(tmp_path), {'Set5': rows, 'Set14': rows[:1]})
    assert json.loads((tmp_path / 'metrics.json').read_text()) == {
        'Set5': {'psnr': 30.5625, 'ssim': 0.625, 'images': 2},
        'Set14': {'psnr': 30.125, 'ssim': 0.5, 'images': 1},
    }
    with open(tmp_path / 'metrics.csv', newline='') as file:
        table = list(csv.reader(file))
    assert table[0] == ['set', 'image', 'psnr', 'ssim']
    assert table[2] == ['Set5', 'bird', '31.0', '0.75']
    assert len(table) == 4


def test_exact_pictures_leave_json_for_strict_readers(tmp_path):
    write_results(str(tmp_path), {'Set5': [Row(0, 'baby', {'psnr': float('inf'), 'ssim': 1.0})]})
    found = json.loads((tmp_path / 'metrics.json').read_text(), parse_constant=pytest.fail)
    assert float(found['Set5']['psnr']) == float('inf')
    assert found['Set5']['ssim'] == 1.0
