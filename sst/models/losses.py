"""The losses of a run: built from the section `train`, and computed under the names that the log has."""

from collections.abc import Mapping
from typing import Any

import torch
from basicsr.losses import build_loss
from torch import Tensor, nn

from sst.options.parts import parameters_of
from sst.options.registries import LOSSES
from sst.utils.errors import UserError, reason_of


def build_losses(train: Mapping[str, Any], device: torch.device, signed: bool) -> dict[str, nn.Module]:
    """The losses by their names in the log. One of `loss_weight` 0 is not built: it may need weights of its own.

    Args:
        train (Mapping): the section `train`.
        device (torch.device): where they compute.
        signed (bool): whether they get images in [-1, 1], not [0, 1].

    Raises:
        UserError: a loss cannot be built, or none has any weight.
    """
    named = [(f'l_{options["type"]}', f'losses.{index}', options) for index, options in enumerate(train['losses'])]
    keys = (('l_pix', 'pixel_opt'), ('l_percep', 'perceptual_opt'))
    losses: dict[str, nn.Module] = {}
    for name, key, options in [*((name, key, train[key]) for name, key in keys), *named]:
        if options and options.get('loss_weight') != 0:
            number = 1 + sum(other.partition('.')[0] == name for other in losses)
            losses[name if number == 1 else f'{name}.{number}'] = _built(key, options, device, signed)
    if not losses:
        raise UserError('train: every loss has loss_weight 0; set one: --force_yml train:pixel_opt:loss_weight=1')
    return losses


def _built(key: str, options: dict, device: torch.device, signed: bool) -> nn.Module:
    try:
        given = {'signed': signed} if 'signed' in parameters_of(LOSSES[options['type']]) else {}
        return build_loss(options | given).to(device)
    except UserError as fault:
        raise UserError(f'train.{key}: {fault}') from fault
    except Exception as fault:  # a perceptual loss fetches weights
        raise UserError(f'train.{key}: {options["type"]} cannot be built: {reason_of(fault)}') from fault


def computed(losses: Mapping[str, nn.Module], output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The values of the losses, by name, of two batches (B, 3, H, W)."""
    values: dict[str, Tensor] = {}
    for name, criterion in losses.items():
        value = criterion(output, target)
        if isinstance(value, tuple):  # BasicSR's perceptual loss gives (perceptual, style), either may be None
            style = 'l_style' if name == 'l_percep' else f'{name}.style'
            values |= {key: part for key, part in zip((name, style), value, strict=True) if part is not None}
        else:
            values[name] = value
    return values
