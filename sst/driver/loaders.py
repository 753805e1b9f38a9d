"""The loaders that BasicSR's training loop reads: the endless stream, and the validation sets."""

import logging
from collections.abc import Callable
from typing import Any

from basicsr.data import build_dataloader

from sst.data import build_train_loader
from sst.data.stream import order_seed
from sst.driver.prepare import Run
from sst.driver.resume import tell_of_other_processes, warn_of_changed_stream


class NoEpochs:
    """Replaces the training sampler of BasicSR's loop, because the stream has no epochs."""

    def set_epoch(self, epoch: int) -> None:
        """Do nothing."""


def create_loaders(
    run: Run, logger: logging.Logger, on_request: Callable[[int], None]
) -> tuple[Any, NoEpochs, list[Any], int, int]:
    """What BasicSR's `create_train_val_dataloader` gives: (train loader, sampler, val loaders, 0, last iteration).

    With 0 epochs BasicSR's loop reads the loader exactly once.
    """
    opt = run.opt
    data, total_iter = opt['datasets']['train'], opt['train']['total_iter']
    train_set = run.datasets[data['name']]
    if run.state and run.stream:
        warn_of_changed_stream(run.state.get('stream'), run.stream)
        tell_of_other_processes(run.state, opt['world_size'])
    train_loader = build_train_loader(
        train_set,
        total_batch=data['batch_size'],
        seed=order_seed(opt['manual_seed'], run.model.leaps.returns),
        start_iter=run.start_iter,
        total_iter=total_iter,
        rank=opt['rank'],
        world=opt['world_size'],
        accumulate=opt['train']['accumulate'],
        num_workers=data['num_workers'],
        pin_memory=data['pin_memory'],
        queue=2 if data['prefetch_mode'] == 'cpu' else 0,
        on_request=on_request,
        most_bad=data['max_bad_images'],
    )
    logger.info(
        'Training: %s images of %s, batch %d (%d per process x %d), iterations %s to %s, %.1f passes over the images',
        f'{len(train_set):,}',
        data['name'],
        data['batch_size'],
        data['batch_size'] // opt['world_size'],
        opt['world_size'],
        f'{run.start_iter + 1:,}',
        f'{total_iter:,}',
        data['batch_size'] * total_iter / len(train_set),
    )
    val_loaders = []
    for key, options in opt['datasets'].items():
        if key != 'train':
            val_set = run.datasets[options['name']]
            logger.info('Validation: %d images of %s', len(val_set), options['name'])
            val_loaders.append(build_dataloader(val_set, options, num_gpu=opt['num_gpu'], dist=opt['dist']))
    return train_loader, NoEpochs(), val_loaders, 0, total_iter
