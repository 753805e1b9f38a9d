"""The model BasicSR's loops drive: training step, validation, checkpoints."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from copy import deepcopy
from os import path as osp
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sst.archs import AttentionNetwork
from sst.checkpoints.fitting import fitting, load_weights
from sst.checkpoints.networks import built
from sst.checkpoints.weights import on_cpu, weights_in
from sst.inference import build_predictor, inference_kwargs
from sst.models.consistency import layer_seed
from sst.models.evaluation import EvaluatedImage, Row, average, enlarged, evaluate, evaluating, write_results
from sst.models.images import comparison, side_by_side, write_png
from sst.models.losses import build_losses, computed
from sst.models.optimiser import build_optimisers, restore, take_steps, undecayed, unscale
from sst.models.schedule import learning_rate
from sst.utils.errors import DivergedError, SharedError, UserError
from sst.utils.files import atomic_save

logger = logging.getLogger('basicsr')
AMP_DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
DIVERGED = (
    'lower train.optim_g.lr or set train.grad_clip (such as 0.5), and go on from the last checkpoint with --auto_resume'
)
TEST_SIZE = 24  # pixels a side of an image to try a network on
SAMPLE_IMAGES = 4  # shown in TensorBoard, per set


@MODEL_REGISTRY.register()
class SSTModel(BaseModel):
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
        if train['compile']:
            self.net_g.compile_layers() if isinstance(self.net_g, AttentionNetwork) else self.net_g.compile()
        self.stream: dict[str, int] | None = None  # what the order of samples depends on; states hold it
        self.log: dict[str, Tensor] = {}
        self.best_metric_results: dict = {}
        self._checkpoint_due: int | None = None
        self._validated: dict[str, int] = {}  # set -> the iteration it was last validated at

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
        """Take a batch: `lq` (B, 3, h, w) and `gt` (B, 3, H, W), RGB in [0, 1]."""
        self.lq: Tensor = data['lq'].to(self.device, non_blocking=True)
        self.gt: Tensor = data['gt'].to(self.device, non_blocking=True)

    def optimize_parameters(self, current_iter: int) -> None:
        """One optimiser step on the batch, in `train.accumulate` parts."""
        train = self.opt['train']
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
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
        if train['grad_clip']:
            unscale(self.scaler, self.optimizers)
            nn.utils.clip_grad_norm_(self.net_g.parameters(), train['grad_clip'])
        take_steps(self.scaler, self.optimizers, unscaled=bool(train['grad_clip']))
        if self.net_g_ema is not None:
            self._update_ema(self.net_g_ema)

    def _parts(self, current_iter: int) -> list[tuple[Tensor, ...]]:
        """The batch in `train.accumulate` parts: what `_losses_of` takes."""
        count = self.opt['train']['accumulate']
        return list(zip(self.lq.chunk(count), self.gt.chunk(count), strict=True))

    def _losses_of(self, lq: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """The losses of a part of the batch."""
        with self._autocast():
            output = self.net_g(lq)
        return computed(self.losses, output.float(), gt)

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
            DivergedError: a loss is not finite, and from there training cannot recover.
        """
        values = torch.stack([loss.float() for loss in self.log.values()])
        if self.opt['dist']:
            dist.all_reduce(values)
            values /= self.opt['world_size']
        log = dict(zip(self.log, values.tolist(), strict=True))
        if not values.isfinite().all():
            raise DivergedError(f'the loss is not finite any more: {log}; {DIVERGED}')
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
            if self._validated.get(name) != current_iter:
                rows = self._evaluate(dataloader.dataset, current_iter, tb_logger, save_img)
                self._record(name, average(rows), current_iter, tb_logger)
                self._validated[name] = current_iter
        except BaseException:
            self._write_due_checkpoint(synchronise=False)  # what was trained is not lost with a failed validation
            raise
        if name == self._validation_sets()[-1]:
            self._write_due_checkpoint()

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
            parts.append(f'{metric} {value:.4f} (best {best["val"]:.4f} at {best["iter"]:,})')
            if tb_logger:
                tb_logger.add_scalar(f'metrics/{name}/{metric}', value, current_iter)
        logger.info(f'Validation {name}, iteration {current_iter:,}: {", ".join(parts) or "no metrics"}')

    def _validation_sets(self) -> list[str]:
        return [options['name'] for phase, options in self.opt['datasets'].items() if phase.startswith('val')]

    def save(self, epoch: int, current_iter: int) -> None:
        """Write a checkpoint (-1: the latest weights), after the validation of this iteration if there is one."""
        self._checkpoint_due = current_iter
        if not self._validation_sets() or (current_iter != -1 and current_iter % self.opt['val']['val_freq']):
            self._write_due_checkpoint()

    def save_now(self, current_iter: int) -> None:
        """Write a checkpoint without waiting for any validation; `validation_due` in it names those to be done."""
        self._checkpoint_due = current_iter
        self._write_due_checkpoint()

    def _write_due_checkpoint(self, synchronise: bool = True) -> None:
        """Write what `save` announced; where it fails every process raises. No process goes on before it is written."""
        due, self._checkpoint_due = self._checkpoint_due, None
        if due is None:
            return
        failure: list = [None]
        if self.opt['rank'] == 0:
            try:
                self._write_checkpoint(due)
            except UserError as error:
                failure = [error if isinstance(error, DivergedError) else SharedError(str(error))]
        if self.opt['dist'] and synchronise:
            dist.broadcast_object_list(failure)
        if failure[0]:
            raise failure[0]

    def _write_checkpoint(self, iteration: int) -> None:
        net = self.get_bare_model(self.net_g)
        content = {'params': on_cpu(net), 'network_g': self.opt['network_g'], 'metadata': self._metadata(iteration)}
        if self.net_g_ema is not None:
            content['params_ema'] = on_cpu(self.net_g_ema)
        if not all(value.isfinite().all() for value in content['params'].values()):
            raise DivergedError(f'the weights are not finite any more, so they were not saved; {DIVERGED}')
        if iteration == -1:
            atomic_save(content, osp.join(self.opt['path']['models'], 'net_g_latest.pth'))
            iteration = self.opt['train']['total_iter']  # the end has a state too, from which a run is made longer
        state_path = osp.join(self.opt['path']['training_states'], f'{iteration}.state')
        if not osp.exists(state_path):
            atomic_save(content, osp.join(self.opt['path']['models'], f'net_g_{iteration}.pth'))
            state = {  # the state last: where it exists its weights do too
                'epoch': 0,  # the stream has no epochs; BasicSR's loop wants the key
                'iter': iteration,
                'optimizer_types': [type(optimizer).__name__ for optimizer in self.optimizers],
                'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
                'scaler': self.scaler.state_dict(),
                'best_metric_results': self.best_metric_results,
                'stream': self.stream,
                'validation_due': self._validation_due(iteration),
            }
            atomic_save(state, state_path)

    def _validation_due(self, iteration: int) -> list[str]:
        """The sets that are to be validated at this iteration and are not yet."""
        if iteration % self.opt['val']['val_freq']:
            return []
        return [name for name in self._validation_sets() if self._validated.get(name) != iteration]

    def _metadata(self, iteration: int) -> dict[str, Any]:
        """What a checkpoint tells of its training; no paths, which are nobody else's business."""
        data = self.opt['datasets']['train']
        reached = self.opt['train']['total_iter'] if iteration == -1 else iteration
        return {'run': self.opt['name'], 'training_data': data['name'], 'iteration': reached}

    def resume_training(self, resume_state: dict) -> None:
        """Take over weights, optimiser, loss scale and best figures.

        The driver calls it before anything is written, so that faults come early. BasicSR's loop then calls it again.

        Args:
            resume_state (dict): as `sst.driver.resume.load_resume_state` gives it.

        Raises:
            UserError: the weights are not those of this run's network, or the state not that of its optimiser.
        """
        for net, key in ((self.get_bare_model(self.net_g), 'params'), (self.net_g_ema, 'params_ema')):
            if net is not None:
                file = resume_state['weights_path']
                net.load_state_dict(fitting(net, weights_in(resume_state['weights'], file, key), file)[0], strict=False)
        own = [type(optimizer).__name__ for optimizer in self.optimizers]
        saved = resume_state.get('optimizer_types', own)
        try:
            if saved != own:
                raise ValueError(f'it was saved from {saved}, this run has {own}')
            for optimizer, part in zip(self.optimizers, resume_state['optimizers'], strict=True):
                restore(optimizer, part)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f'{resume_state["path"]}: its optimiser does not fit train.optim_g: {error}; go on with the options it '
                'was saved from, or start from its weights (path:pretrain_network_g=FILE)'
            ) from error
        if scale := resume_state.get('scaler'):  # empty where the run had none
            self.scaler.load_state_dict(scale)
        self.best_metric_results = resume_state.get('best_metric_results') or {}


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
