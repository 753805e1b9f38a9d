"""Steps without finite numbers, losses that leap, memory that runs out."""

import logging
import math
import re

import pytest
import torch
import torch.distributed as dist
from model_runs import batch, make_opt, train, weights

from soaking.children import fork, wait
from sst.models import SSTModel
from sst.models.guards import Leaps
from sst.utils.errors import DivergedError, Spiked, UserError

OPTIMISERS = [
    {'type': 'AdamW', 'lr': 1e-3},
    {'type': 'AdamW', 'lr': 1e-3, 'fused': False},
    {'type': 'Muon', 'lr': 1e-3},
    {'type': 'RMSprop', 'lr': 1e-3},
]


def memory(model):
    """All tensors that the optimisers remember."""
    states = [state for optimizer in model.optimizers for state in optimizer.state.values()]
    return [value.clone() for state in states for value in state.values() if isinstance(value, torch.Tensor)]


def spoiled(number):
    """A batch whose second image holds a value that is no number."""
    data = batch(number) | {'gt_path': ['a.png', 'b.png', 'c.png', 'd.png']}
    data['lq'][1, 0, 0, 0] = math.nan
    return data


def step(model, iteration, data):
    model.update_learning_rate(iteration, -1)
    model.feed_data(data)
    model.optimize_parameters(iteration)


@pytest.mark.parametrize('how', [{}, {'grad_clip': 0.5}, {'accumulate': 2}], ids=str)
@pytest.mark.parametrize('optimiser', OPTIMISERS, ids=str)
def test_a_bad_batch_changes_neither_weights_nor_optimiser(tmp_path, optimiser, how):
    model = SSTModel(make_opt(tmp_path, optim_g=optimiser, **how))
    train(model, 1, 2)
    before, remembered = weights(model.net_g), memory(model)
    step(model, 3, spoiled(3))
    assert torch.equal(weights(model.net_g), before)
    assert all(torch.equal(now, then) for now, then in zip(memory(model), remembered, strict=True))
    train(model, 4, 4)
    model.bad_steps.settle()
    assert (model.bad_steps.row, model.bad_steps.total) == (0, 1)
    assert not torch.equal(weights(model.net_g), before)
    assert weights(model.net_g).isfinite().all()


@pytest.mark.parametrize('amp', [None, 'bf16', 'fp16'])
def test_a_gradient_that_is_not_finite_is_left_out_too(tmp_path, amp):
    model = SSTModel(make_opt(tmp_path, amp=amp))
    train(model, 1, 1)
    before = weights(model.net_g)
    hook = model.net_g.stem.weight.register_hook(lambda gradient: gradient * math.inf)
    step(model, 2, batch(2))
    hook.remove()
    model.bad_steps.settle()
    assert torch.equal(weights(model.net_g), before)
    assert model.bad_steps.total == (0 if amp == 'fp16' else 1)  # which the loss scale answers


def test_its_images_are_named_and_too_many_in_a_row_end_the_run(tmp_path, caplog):
    model = SSTModel(make_opt(tmp_path, max_bad_steps=3))
    for iteration in (1, 2):
        step(model, iteration, spoiled(iteration))
    step(model, 3, batch(3))  # in between, a good one
    for iteration in (4, 5, 6):
        step(model, iteration, spoiled(iteration))
    with pytest.raises(DivergedError, match='3 steps in a row .* iteration 6'):
        step(model, 7, batch(7))
    (*_, last) = [record.getMessage() for record in caplog.records if 'Iteration' in record.getMessage()]
    assert 'a.png, b.png, c.png, d.png' in last
    assert '3 in a row, 5 in all' in last


def test_a_run_that_goes_on_counts_on(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    for iteration in (1, 2):
        step(model, iteration, spoiled(iteration))
    model.save(0, 2)
    content = torch.load(tmp_path / 'training_states/2.state', weights_only=True)
    assert content['bad_steps'] == {'row': 2, 'total': 2}


def test_a_leap_is_told_from_noise():
    leaps = Leaps({'factor': 3.0, 'window': 5, 'most': 1})
    for loss in (9, 1, 1.1, 0.9, 1.2, 3.2):  # the median settles: 9 is no leap, and is none before there are five
        leaps.see(loss)
    with pytest.raises(Spiked, match=r'to 4, 3\.6 times'):
        leaps.see(4)
    leaps.restore(leaps.state() | {'returns': 1})
    with pytest.raises(DivergedError, match='went back 1 times'):
        leaps.see(4)
    Leaps(None).see(1e9)


def test_memory_that_runs_out_says_what_to_lower(tmp_path):
    model = SSTModel(make_opt(tmp_path, accumulate=2))

    def full(*_):
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB')

    model.net_g.forward = full
    model.feed_data(batch(1))
    with pytest.raises(UserError, match=r'2 images of 8 x 8 .*1 at a time.*accumulate=4.*recompute=true.*gt_size=8'):
        model.optimize_parameters(1)


def _train_in_two(rank, folder):
    """Return 0 if two steps of which the second process has a bad part change no weights in either."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    torch.manual_seed(0)
    model = SSTModel(make_opt(folder, max_bad_steps=2) | {'dist': True, 'rank': rank, 'world_size': 2})
    model.join_processes()
    logging.getLogger('basicsr').addHandler(logging.FileHandler(folder / f'{rank}.txt'))
    step(model, 1, batch(1))
    before = weights(model.net_g)
    try:
        for iteration in (2, 3, 4):
            step(model, iteration, spoiled(iteration) if rank else batch(iteration) | {'gt_path': ['first.png']})
    except DivergedError:
        return int(not torch.equal(weights(model.net_g), before))
    return 2


def test_all_processes_leave_a_step_out_together(tmp_path):
    numbers = [fork(lambda rank=rank: _train_in_two(rank, tmp_path), tmp_path / f'{rank}.log') for rank in (0, 1)]
    assert wait(numbers, 60) == [0, 0]
    told = (tmp_path / '0.txt').read_text()  # the first process tells of all
    assert re.search('Iteration 3: .*2 in a row.* first.png, a.png, b.png', told)
