"""PyTorch's optimisers: fused where they can be, and their memory taken over from a saved state."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sst.utils.errors import UserError

IMPLEMENTATION = ('fused', 'foreach')  # how a step is computed, not what
MEMORIES = {'Adam': 2, 'AdamW': 2, 'NAdam': 2, 'RAdam': 2, 'Adagrad': 1, 'RMSprop': 1, 'Muon': 2}
BETAS = (0.9, 0.99)  # of the AdamW beside Muon


def undecayed(net: nn.Module) -> set[nn.Parameter]:
    """The weights that a network exempts from weight decay by its method `undecayed`; others exempt none."""
    tell: Any = getattr(net, 'undecayed', set)
    names = tell()
    return {weight for name, weight in net.named_parameters() if name in names}


def build_optimisers(
    weights: Sequence[nn.Parameter], options: Mapping[str, Any], exempt: Collection[nn.Parameter] = ()
) -> list[Optimizer]:
    """The optimisers of `train.optim_g`: one for all weights, or Muon for matrices and AdamW for the rest.

    Muon's steps are scaled to the size of AdamW's (`adjust_lr_fn: match_rms_adamw`), so that one rate serves both.

    Args:
        exempt: weights that do not decay.

    Raises:
        UserError: as `build_optimiser`.
    """
    if options['type'] != 'Muon':
        return [build_optimiser(weights, options, exempt)]
    matrices = [weight for weight in weights if weight.dim() == 2]
    rest = [weight for weight in weights if weight.dim() != 2]
    shared = {key: options[key] for key in ('lr', 'weight_decay') if key in options}
    found = []
    if matrices:
        found.append(build_optimiser(matrices, {'adjust_lr_fn': 'match_rms_adamw'} | dict(options), exempt))
    if rest:
        found.append(build_optimiser(rest, {'type': 'AdamW', 'betas': BETAS} | shared, exempt))
    return found


def build_optimiser(
    weights: Sequence[nn.Parameter], options: Mapping[str, Any], exempt: Collection[nn.Parameter] = ()
) -> Optimizer:
    """The optimiser of `train.optim_g`: one kernel for all weights where PyTorch has it for this device.

    `fused` and `foreach` are taken as they are given; where neither is, or only nulls, `fused` is tried.

    Args:
        exempt: weights that do not decay. They are a second group of the optimiser.

    Raises:
        UserError: `fused: true` where the optimiser refuses it on this device.
    """
    parameters = {key: value for key, value in options.items() if key != 'type'}
    kind = getattr(torch.optim, options['type'])
    asked = parameters.get('fused')
    if 'fused' in inspect.signature(kind).parameters and (asked or not _chosen(parameters)):
        refusal = _fused_fault(kind, weights, parameters)
        if asked and refusal:
            raise UserError(
                f'train.optim_g.fused: true, which {options["type"]} refuses on {weights[0].device.type} ({refusal}); '
                'leave it out'
            )
        parameters['fused'] = not refusal
    free = set(exempt)
    groups: list[dict[str, Any]] = [
        {'params': [weight for weight in weights if weight not in free]},
        {'params': [weight for weight in weights if weight in free], 'weight_decay': 0.0},
    ]
    return kind([group for group in groups if group['params']], **parameters)


def memory_of(options: Mapping[str, Any]) -> int:
    """Numbers that the optimiser of `train.optim_g` remembers for each weight, at most."""
    return MEMORIES.get(options['type'], int(bool(options.get('momentum'))))


def restore(optimizer: Optimizer, state: Any) -> None:
    """Take over what an optimiser remembers. How a step is computed stays as it is here: the device may be another.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: where the state is not of such an optimiser.
    """
    own = [{key: group[key] for key in IMPLEMENTATION if key in group} for group in optimizer.param_groups]
    groups = [saved | ours for saved, ours in zip(state['param_groups'], own, strict=True)]
    optimizer.load_state_dict({**state, 'param_groups': groups})
    for weight, memory in optimizer.state.items():
        for name, value in memory.items():
            if not isinstance(value, Tensor) or not value.dim():
                continue
            if value.shape != weight.shape:
                raise ValueError(f'{name} is {tuple(value.shape)} for a weight of {tuple(weight.shape)}')
            if value.stride() != weight.stride():  # fused kernels read both in the order they lie in memory
                memory[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _chosen(parameters: Mapping[str, Any]) -> bool:
    return any(parameters.get(key) is not None for key in IMPLEMENTATION)


def _fused_fault(kind: type[Optimizer], weights: Sequence[nn.Parameter], parameters: Mapping[str, Any]) -> str:
    """Why an optimiser cannot take a fused step on the weights' devices; '' where it can. A signature does not tell."""
    trial = [
        nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
        for device, dtype in {(weight.device, weight.dtype) for weight in weights}
    ]
    for weight in trial:
        weight.grad = torch.zeros_like(weight)
    try:
        kind(trial, **{**parameters, 'fused': True}).step()
    except RuntimeError as refusal:
        return ' '.join(str(refusal).split())
    return ''
