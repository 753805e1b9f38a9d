"""What the training loader gives, whoever makes it."""

import torch

from sst.data.loader import build_train_loader


def batches(data, workers, start_iter=0):
    loader = build_train_loader(data, total_batch=4, seed=5, start_iter=start_iter, total_iter=4, num_workers=workers)
    return [(batch['lq'], batch['gt'], batch['gt_path']) for batch in loader]


def assert_same(batches, expected):
    for (lq, gt, path), (other_lq, other_gt, other_path) in zip(batches, expected, strict=True):
        assert path == other_path
        assert torch.equal(lq, other_lq)
        assert torch.equal(gt, other_gt)
