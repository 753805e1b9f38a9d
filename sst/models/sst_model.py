"""The model BasicSR's loops drive: training step, validation, checkpoints."""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from copy import deepcopy
from functools import partial
from os import path as osp
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sst.archs import AttentionNetwork
from sst.checkpoints.fitting import load_weights
from sst.checkpoints.networks import built
from sst.inference import build_predictor, inference_kwargs
from sst.models.checkpoints import Checkpoints
from sst.models.consistency import layer_seed
from sst.models.evaluation import EvaluatedImage, Row, average, enlarged, evaluate, evaluating, write_results
from sst.models.guards import BadSteps, Leaps, memory_told
from sst.models.images import comparison, side_by_side, write_png
from sst.models.losses import build_losses, computed
from sst.models.optimiser import build_optimisers, undecayed
from sst.models.saving import SavedModel
from sst.models.schedule import learning_rate
from sst.utils.errors import UserError

logger = logging.getLogger('basicsr')
AMP_DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
TEST_SIZE = 24  # pixels a side of an image to try a network on
SAMPLE_IMAGES = 4  # shown in TensorBoard, per set


@MODEL_REGISTRY.register()
class SSTModel(SavedModel):
    """Single-image super-resolution, one network and its exponential moving average.

    Args:
        opt (dict): the options of a run, as `sst.options.load_options` gives them, with what the driver adds.
    """

    trains_from_noise: ClassVar[bool] = False  # whether it trains networks that start from noise, and no others
    signed: ClassVar[bool] = False  # whether losses get images in [-1, 1], not [0, 1]

    def __init__(self, opt: dict) -> None:
        super().__init__(opt)
        # the weights in the layout of the maps, which are channels_last tensors to the convolutions
        net = built(opt['network_g'], 'cpu').to(self.device).to(memory_format=torch.channels_last)
        logger.info(
            f'{type(net).__name__} with {sum(p.numel() for p in net.parameters()):,} parameters on {self.device}'
        )
        if weights := opt['path']['pretrain_network_g']:
            logger.info(load_weights(net, weights, **reading_of(opt)))
        elif not self.is_train and any(True for _ in net.parameters()):
            logger.warning('The network has random weights: path.pretrain_network_g names none.')
        self.net_g: Any = net  # which may get the methods of WindowNetwork or of DistributedDataParallel
        self.net_g_ema: nn.Module | None = None
        self.results: dict[str, list[Row]] = {}
        self.stop_asked: Callable[[], int] = lambda: 0  # the number of a signal that ends a validation
        if self.is_train:
            self._init_training()

    def _init_training(self) -> None:
        train = self.opt['train']
        self.net_g.train()
        if train['ema_decay'] > 0:
            self.net_g_ema = deepcopy(self.net_g).eval().requires_grad_(False)
            self._ema_update = get_ema_multi_avg_fn(train['ema_decay'])
        self.losses = build_losses(train, self.device, self.signed)
        trained = [p for p in self.net_g.parameters() if p.requires_grad]
        if not trained:
            raise UserError(f'network_g: {type(self.net_g).__name__} has no parameters to train; take another network')
        self.optimizers = build_optimisers(trained, train['optim_g'], undecayed(self.net_g))
        self.amp_dtype = AMP_DTYPES.get(train['amp'])
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype is torch.float16)
        if train['recompute']:
            self.net_g.recompute_activations()
        if train['fused_layers']:
            self.net_g.fuse_training()
        if train['compile']:
            self.net_g.compile_layers() if isinstance(self.net_g, AttentionNetwork) else self.net_g.compile()
        self.log: dict[str, Tensor] = {}
        self.bad_steps = BadSteps(train['max_bad_steps'], self.opt['world_size'])
        self.leaps = Leaps(train['spikes'])
        self.checkpoints = Checkpoints(self.opt, lambda: self.stop_asked())

    @torch.no_grad()
    def rehearse(self) -> None:
        """Enlarge a black image of the training crop's size, before anything depends on it.

        Raises:
            UserError: the network cannot, or gives another size than the scale asks for.
        """
        scale, net = self.opt['scale'], self.get_bare_model(self.net_g)
        size = self.opt['datasets']['train']['gt_size'] // scale if self.is_train else TEST_SIZE
        lr = torch.zeros(1, 3, size, size, device=self.device)
        forward = self.is_train and not self.trains_from_noise  # it is not what torch.compile makes of it
        with evaluating(net):
            predict = net.forward if forward else build_predictor(net, self.opt)
            output = enlarged(predict, lr, f'an image of {size}x{size}')
        if output.shape != (1, 3, scale * size, scale * size):
            raise UserError(
                f'network_g: {type(net).__name__} makes {tuple(output.shape)} of {tuple(lr.shape)}, which is not '
                f'scale {scale}; set scale, or the options of the network'
            )

    def join_processes(self) -> None:
        """Train together with the other processes of the group. Every process must call it."""
        if self.is_train and self.opt['dist']:
            self.net_g = DistributedDataParallel(
                self.net_g,
                device_ids=[torch.cuda.current_device()] if self.device.type == 'cuda' else None,
                find_unused_parameters=self.opt['find_unused_parameters'],
                gradient_as_bucket_view=True,
            )

    def choose_kernels(self) -> None:
        """Check on a GPU which layers the fused kernels compute. Every process must call it; they decide together."""
        net = self.get_bare_model(self.net_g)
        if self.device.type != 'cuda' or not isinstance(net, AttentionNetwork):
            return
        net.choose_kernels(agree=self._all_of)
        if self.is_train:
            data = self.opt['datasets']['train']
            side = data['gt_size'] // self.opt['scale']
            batch = max(data['batch_size'] // (self.opt['world_size'] * self.opt['train']['accumulate']), 1)
            net.choose_kernels((side, side), batch, map_dtype=self.amp_dtype, gradients=True, agree=self._all_of)

    def _all_of(self, taken: Sequence[bool]) -> list[bool]:
        """What all processes take."""
        values = torch.tensor(taken, dtype=torch.int32, device=self.device)
        if self.opt['dist'] and len(taken):
            dist.all_reduce(values, dist.ReduceOp.MIN)
        return [bool(value) for value in values.tolist()]

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the rate of step `current_iter` (from 1)."""
        train = self.opt['train']
        rate = learning_rate(current_iter, train['optim_g']['lr'], train['scheduler'], warmup_iter)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = rate

    def feed_data(self, data: dict) -> None:
        """Take a batch: `lq` (B, 3, h, w) and `gt` (B, 3, H, W), RGB in [0, 1]. `gt_path`, a list, names the images."""
        self.pictures: list[str] = list(data.get('gt_path', ()))
        self.lq: Tensor = data['lq'].to(self.device, non_blocking=True)
        self.gt: Tensor = data['gt'].to(self.device, non_blocking=True)

    def optimize_parameters(self, current_iter: int) -> None:
        """One optimiser step on the batch, in `train.accumulate` parts. It is left out if a number is not finite.

        Raises:
            UserError: memory is short.
            DivergedError: too many steps in a row were left out.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with memory_told(self.opt, self.device):
            self._compute_gradients(current_iter)
        self.bad_steps.settle()  # of the last iteration: a GPU has work meanwhile
        self.bad_steps.note(current_iter, self._step(), self.pictures)
        if self.net_g_ema is not None:
            self._update_ema(self.net_g_ema)
        frequency = self.opt['logger']['digest_freq']
        if frequency and current_iter % frequency == 0 and self.opt['rank'] == 0:
            self.checkpoints.record(current_iter, self.networks())

    def _compute_gradients(self, current_iter: int) -> None:
        self.log = {}
        torch.manual_seed(layer_seed(self.opt['manual_seed'], current_iter, self.opt['rank']))  # of dropout
        parts = self._parts(current_iter)
        for number, part in enumerate(parts, start=1):
            with ExitStack() as stack:
                if self.opt['dist'] and number < len(parts):
                    stack.enter_context(self.net_g.no_sync())  # gradients are averaged over processes once, at the end
                losses = self._losses_of(*part)
                share = len(part[0]) / len(self.lq)
                self.scaler.scale(torch.stack(list(losses.values())).sum() * share).backward()
            for name, loss in losses.items():
                self.log[name] = self.log.get(name, 0) + loss.detach() * share

    def _parts(self, current_iter: int) -> list[tuple[Tensor, ...]]:
        """The batch in `train.accumulate` parts: what `_losses_of` takes."""
        count = self.opt['train']['accumulate']
        return list(zip(self.lq.chunk(count), self.gt.chunk(count), strict=True))

    def _losses_of(self, lq: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """The losses of a part of the batch."""
        with self._autocast():
            output = self.net_g(lq)
        return computed(self.losses, output.float(), gt)

    def _step(self) -> Tensor:
        """Take the step if loss and gradient are finite. Return whether it counts as bad, alike in all processes."""
        scaled = self.scaler.is_enabled()
        if scaled:
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
        if clip := self.opt['train']['grad_clip']:
            norms: Sequence[Tensor] = [nn.utils.clip_grad_norm_(self.net_g.parameters(), clip)]
        else:
            norms = torch._foreach_norm([p.grad for p in self.net_g.parameters() if p.grad is not None])
        finite_loss = torch.stack([loss.float() for loss in self.log.values()]).isfinite().all()
        if self.opt['dist']:  # the gradient is that of all processes already
            together = finite_loss.to(torch.int32)
            dist.all_reduce(together, dist.ReduceOp.MIN)
            finite_loss = together.bool()
        finite = finite_loss & torch.stack(list(norms)).isfinite().all()
        fused = not scaled and all(
            getattr(optimizer, '_step_supports_amp_scaling', False) for optimizer in self.optimizers
        )
        if fused:  # the kernels leave the step out themselves, so nothing waits for a GPU
            for optimizer in self.optimizers:
                optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # as GradScaler sets it
        if fused or finite:
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
        self.scaler.update()
        if scaled and self.scaler.get_scale() > 1:  # the scale that fits is still looked for
            return ~finite_loss
        return ~finite

    def _autocast(self):
        return nullcontext() if self.amp_dtype is None else torch.autocast(self.device.type, self.amp_dtype)

    @torch.no_grad()
    def _update_ema(self, ema: nn.Module) -> None:
        net = self.get_bare_model(self.net_g)
        self._ema_update(list(ema.parameters()), list(net.parameters()), None)
        for average_buffer, buffer in zip(ema.buffers(), net.buffers(), strict=True):
            average_buffer.copy_(buffer)

    def get_current_log(self) -> dict[str, float]:
        """The losses of the last step, averaged over all processes. Every process must call it.

        Raises:
            Spiked, DivergedError: as `Leaps.see`.
        """
        values = torch.stack([loss.float() for loss in self.log.values()])
        if self.opt['dist']:
            dist.all_reduce(values)
            values /= self.opt['world_size']
        log = dict(zip(self.log, values.tolist(), strict=True))
        if all(map(math.isfinite, log.values())):
            self.leaps.see(sum(log.values()))
        return log

    def evaluated_network(self) -> nn.Module:
        """The network that is validated and tested: the moving average, unless `val.use_ema` is false."""
        if self.net_g_ema is not None and self.opt['val']['use_ema']:
            return self.net_g_ema
        return self.get_bare_model(self.net_g)

    def validation(self, dataloader, current_iter, tb_logger, save_img=False) -> None:
        """Evaluate a set on all processes and log the figures; in training then write the checkpoint that waits."""
        name = dataloader.dataset.opt['name']
        if not self.is_train:
            self.results[name] = self._evaluate(dataloader.dataset, current_iter, None, save_img)
            if self.opt['rank'] == 0:
                write_results(self.opt['path']['results_root'], self.results)
            return
        try:
            if self.validated.get(name) != current_iter:
                rows = self._evaluate(dataloader.dataset, current_iter, tb_logger, save_img)
                self._record(name, average(rows), current_iter, tb_logger)
                self.validated[name] = current_iter
        except BaseException:
            self.write_due_checkpoint(synchronise=False)  # what was trained is not lost with a failed validation
            raise
        if name == self.validation_sets()[-1]:
            self.write_due_checkpoint()

    def _evaluate(self, dataset, current_iter, tb_logger, save_img: bool) -> list[Row]:
        options, rank, name = self.opt['val'], self.opt['rank'], dataset.opt['name']

        def on_image(image: EvaluatedImage) -> None:
            path = self._image_path(name, image.name, current_iter)
            if save_img:
                write_png(image.sr, f'{path}.png')
            if options['save_comparison']:
                write_png(comparison(image), f'{path}_compared.png')
            if tb_logger and image.index < SAMPLE_IMAGES * self.opt['world_size']:
                tb_logger.add_image(f'{name}/{image.name}', side_by_side(image), current_iter)

        net = self.evaluated_network()
        if keywords := inference_kwargs(options):
            net = deepcopy(net).optimize_for_inference(**keywords)  # type: ignore[operator]  # a WindowNetwork
        predict = build_predictor(net, self.opt)
        with evaluating(net):
            return evaluate(
                dataset,
                lambda batch: predict(batch['lq'].to(self.device)),
                options['metrics'] or {},
                rank=rank,
                world=self.opt['world_size'],
                num_workers=options['num_workers'],
                progress=name if options['pbar'] and rank == 0 else None,
                on_image=on_image,
                stop_asked=self.stop_asked,
            )

    def _image_path(self, dataset: str, image: str, current_iter: int | str) -> str:
        """Without the end `.png`."""
        folder = self.opt['path']['visualization']
        if self.is_train:
            return osp.join(folder, dataset, image, f'{image}_{current_iter}')
        return osp.join(folder, dataset, f'{image}_{self.opt["val"]["suffix"] or self.opt["name"]}')

    def _record(self, name: str, means: dict[str, float], current_iter: int, tb_logger) -> None:
        if means:
            self._initialize_best_metric_results(name)
        parts = []
        for metric, value in means.items():
            self._update_best_metric_result(name, metric, value, current_iter)
            best = self.best_metric_results[name][metric]
            if best['iter'] == current_iter and self.opt['logger']['keep_best']:
                self.in_first(partial(self.note_best, name, metric, current_iter))
            parts.append(f'{metric} {value:.4f} (best {best["val"]:.4f} at {best["iter"]:,})')
            if tb_logger:
                tb_logger.add_scalar(f'metrics/{name}/{metric}', value, current_iter)
        if tb_logger:
            tb_logger.flush()  # before the checkpoint, after which a run would not validate again
        logger.info(f'Validation {name}, iteration {current_iter:,}: {", ".join(parts) or "no metrics"}')


@MODEL_REGISTRY.register()
class ESRModel(SSTModel):
    """The name that released option files use for `SSTModel`."""


def reading_of(opt: dict) -> dict[str, Any]:
    """How `path.pretrain_network_g` is read: the keywords of `fitting_weights`."""
    return {
        'param_key': opt['path']['param_key_g'],
        'average': opt['is_train'] or opt['val']['use_ema'],
        'strict': opt['path']['strict_load_g'],
        'transfer': opt['is_train'],
    }
