"""A model whose training is saved, and goes on from what was saved."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.distributed as dist
from basicsr.models.base_model import BaseModel
from torch import nn

from sst.checkpoints.fitting import fitting
from sst.checkpoints.weights import on_cpu, weights_in
from sst.models.checkpoints import Checkpoints
from sst.models.guards import DIVERGED, BadSteps, Leaps
from sst.models.optimiser import memory_of, restore
from sst.utils.errors import DivergedError, SharedError, UserError, reason_of

FOREIGN = (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError, IndexError)  # of content


class SavedModel(BaseModel):
    """The half of a model that writes checkpoints and takes them over. `SSTModel` sets what is declared here.

    Args:
        opt (dict): the options of a run.
    """

    net_g: Any
    net_g_ema: nn.Module | None
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    bad_steps: BadSteps
    leaps: Leaps
    checkpoints: Checkpoints

    def __init__(self, opt: dict) -> None:
        super().__init__(opt)
        self.stream: dict[str, int] | None = None  # what the order of samples depends on; states hold it
        self.best_metric_results: dict = {}
        self.validated: dict[str, int] = {}  # set -> the iteration it was last validated at
        self._checkpoint_due: int | None = None
        self._best_due: dict[tuple[str, str], dict[str, Any]] = {}  # (set, metric) -> the best weights

    def validation_sets(self) -> list[str]:
        """The names of the sets to validate on."""
        return [options['name'] for phase, options in self.opt['datasets'].items() if phase.startswith('val')]

    def save(self, epoch: int, current_iter: int) -> None:
        """Write a checkpoint (-1: the latest weights), after the validation of this iteration if there is one."""
        self._checkpoint_due = current_iter
        if not self.validation_sets() or (current_iter != -1 and current_iter % self.opt['val']['val_freq']):
            self.write_due_checkpoint()

    def save_now(self, current_iter: int) -> None:
        """Write a checkpoint without waiting for any validation; `validation_due` in it names those to be done."""
        self._checkpoint_due = current_iter
        self.write_due_checkpoint()

    def write_due_checkpoint(self, synchronise: bool = True) -> None:
        """Write what `save` announced; where it fails every process raises. No process goes on before it is written."""
        due, self._checkpoint_due = self._checkpoint_due, None
        if due is None:
            return
        if synchronise:
            self.bad_steps.settle(ends=due == -1)
        self.in_first(lambda: self._write_checkpoint(due), synchronise)

    def in_first(self, write: Callable[[], None], synchronise: bool = True) -> None:
        """Write in one process; where it fails every process raises."""
        failure: list = [None]
        if self.opt['rank'] == 0:
            try:
                write()
            except UserError as error:
                failure = [error if isinstance(error, DivergedError) else SharedError(str(error))]
        if self.opt['dist'] and synchronise:
            dist.broadcast_object_list(failure)
        if failure[0]:
            raise failure[0]

    def networks(self) -> dict[str, nn.Module]:
        """The network and, where there is one, its moving average, by their entries in a weights file."""
        own = {'params': self.get_bare_model(self.net_g)}
        return own if self.net_g_ema is None else own | {'params_ema': self.net_g_ema}

    def weights(self, iteration: int) -> dict[str, Any]:
        """What a weights file holds. Raises `DivergedError` for weights that are not finite."""
        content: dict[str, Any] = {key: on_cpu(net) for key, net in self.networks().items()}
        content |= {'network_g': self.opt['network_g'], 'metadata': self._metadata(iteration)}
        if not all(value.isfinite().all() for value in content['params'].values()):
            raise DivergedError(f'the weights are not finite any more, so they were not saved; {DIVERGED}')
        return content

    def note_best(self, dataset: str, metric: str, iteration: int) -> None:
        """Have the next checkpoint write these weights as the best of a metric.

        A run may go back to its last state, and must then find the weights that were the best up to there.
        """
        self._best_due[dataset, metric] = deepcopy(self.weights(iteration))

    def _write_checkpoint(self, iteration: int) -> None:
        weights = self.weights(iteration)
        for (dataset, metric), best in self._best_due.items():
            self.checkpoints.write_best(best, dataset, metric)
        self._best_due.clear()
        if iteration == -1:
            self.checkpoints.write_latest(weights)
            iteration = self.opt['train']['total_iter']  # the end has a state too, from which a run is made longer
        state = {
            'epoch': 0,  # the stream has no epochs; BasicSR's loop wants the key
            'iter': iteration,
            'optimizer_types': [type(optimizer).__name__ for optimizer in self.optimizers],
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'scaler': self.scaler.state_dict(),
            'best_metric_results': self.best_metric_results,
            'stream': self.stream,
            'processes': self.opt['world_size'],
            'validated': dict(self.validated),
            'validation_due': self._validation_due(iteration),
            'bad_steps': self.bad_steps.state(),
            'leaps': self.leaps.state(),
        }
        self.checkpoints.write(iteration, weights, state)

    def checkpoint_sizes(self) -> tuple[int, int]:
        """About how many bytes a weights file and a training state take."""
        net = self.get_bare_model(self.net_g)
        tensors = [*net.parameters(), *net.buffers()]
        weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors) * len(self.networks())
        trained = sum(weight.numel() * weight.element_size() for weight in net.parameters() if weight.requires_grad)
        return weights, trained * memory_of(self.opt['train']['optim_g'])

    def _validation_due(self, iteration: int) -> list[str]:
        """The sets that are to be validated at this iteration and are not yet."""
        if iteration % self.opt['val']['val_freq']:
            return []
        return [name for name in self.validation_sets() if self.validated.get(name) != iteration]

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
        file = resume_state['weights_path']
        self._best_due.clear()
        for key, net in self.networks().items():
            net.load_state_dict(fitting(net, weights_in(resume_state['weights'], file, key), file)[0], strict=False)
        own = [type(optimizer).__name__ for optimizer in self.optimizers]
        saved = resume_state.get('optimizer_types', own)
        try:
            if saved != own:
                raise ValueError(f'it was saved from {saved}, this run has {own}')
            for optimizer, part in zip(self.optimizers, resume_state['optimizers'], strict=True):
                restore(optimizer, part)
        except FOREIGN as error:
            raise UserError(
                f'{resume_state["path"]}: its optimiser does not fit train.optim_g: {reason_of(error)}; go on with the '
                'options it was saved from, or start from its weights (path:pretrain_network_g=FILE)'
            ) from error
        try:
            if scale := resume_state.get('scaler'):  # empty where the run had none
                self.scaler.load_state_dict(scale)
            self.best_metric_results = _best_in(resume_state.get('best_metric_results'))
            self.bad_steps.restore(resume_state.get('bad_steps'))
            self.leaps.restore(resume_state.get('leaps'))
            self.validated = {str(name): int(when) for name, when in resume_state.get('validated', {}).items()}
        except FOREIGN as error:
            raise UserError(
                f'{resume_state["path"]}: does not hold what a state holds ({reason_of(error)}); go on from another '
                'state, or start from its weights (path:pretrain_network_g=FILE)'
            ) from error


def _best_in(results: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """The best figures of a state: set -> metric -> `better`, `val`, `iter`."""
    return {
        str(name): {
            str(metric): {'better': best['better'], 'val': float(best['val']), 'iter': int(best['iter'])}
            for metric, best in metrics.items()
        }
        for name, metrics in (results or {}).items()
    }
