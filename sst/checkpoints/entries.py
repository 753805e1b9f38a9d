"""Which tensors of a checkpoint are the network, whoever wrote it."""

import re
from collections.abc import Iterator, Mapping, Set

from torch import Tensor

from sst.utils.errors import UserError

# What programs call the network in their checkpoints, as an entry of the file or in front of every name. The names of
# BasicSR come before all others.
AVERAGED = ('params_ema', 'params-ema', 'g_ema', 'generator_ema', 'net_g_ema', 'netG_ema', 'model_ema', 'ema')
PLAIN = ('params', 'state_dict', 'model_state_dict', 'model', 'generator', 'net_g', 'netG')
BASICSR = ('params_ema', 'params')
HOW_TO_CHOOSE = 'path.param_key_g in an option file, param_key in Python, --param-key on a command line'
WRAPPERS = re.compile(r'^((module|_orig_mod)\.)+')  # of DistributedDataParallel and torch.compile

Tensors = dict[str, Tensor]


def network_entry(
    content: Mapping, where: str, param_key: str | None, average: bool, own: Set[str] = frozenset()
) -> tuple[str, Tensors]:
    """The entry that holds the network, as `params_ema` or `state_dict.generator` ('' for the content itself).

    Args:
        content (Mapping): what the file holds.
        where (str): the file's name in errors.
        param_key (str | None): the entry to look in. None: the moving average is preferred, where `average` allows it.
        own (Set): names of the network's weights, where it is known. They are never taken for an entry.

    Raises:
        UserError: there are no weights, or more than one entry may be meant.
    """
    tensors = dict(_flat(content))
    found, state = _search(tensors, where, average, own, param_key or '')
    if param_key is None and not found and not own & state.keys() and (parts := _parts(content, tensors)):
        if len(parts) > 1:
            raise _unclear(where, parts)
        found, state = _search(tensors, where, average, own, parts[0])
    if not state:
        held = ', '.join(entries(content) or dict.fromkeys(name.partition('.')[0] for name in tensors))[:200]
        under = f' under {param_key!r}' if param_key else ''
        advice = f'it holds {held}; choose an entry: {HOW_TO_CHOOSE}' if held else 'it holds no tensors'
        raise UserError(f'{where}: has no weights{under}; {advice}')
    return found, state


def entries(content: Mapping) -> tuple[str, ...]:
    """The entries of a file that may hold a network, in the file's order."""
    ways = (name.split('.')[:-1] for name, _ in _flat(content))
    prefixes = (way[:length] for way in ways for length in range(1, len(way) + 1))
    return tuple(dict.fromkeys('.'.join(prefix) for prefix in prefixes if set(prefix) <= {*AVERAGED, *PLAIN}))


def _search(
    tensors: Tensors, where: str, average: bool, own: Set[str], entry: str, above: str = ''
) -> tuple[str, Tensors]:
    """Descend from an entry while the names in it begin with one that may hold the network."""
    path = f'{above}.{entry}'.strip('.')
    inside = {WRAPPERS.sub('', name): value for name, value in _below(tensors, entry).items()}
    if own & inside.keys():
        return path, inside
    heads = dict.fromkeys(name.partition('.')[0] for name in inside if '.' in name)
    averaged = [key for key in AVERAGED if key in heads]
    found = (averaged if average else []) or [key for key in PLAIN if key in heads]
    if not found:
        if averaged:
            raise UserError(f'{where}: holds averaged weights alone, which val.use_ema: false leaves out; take true')
        return path, inside
    if len(found) > 1 and found[0] not in BASICSR:
        raise _unclear(where, [f'{path}.{key}'.lstrip('.') for key in found])
    return _search(inside, where, average, own, found[0], path)


def _unclear(where: str, keys: list[str]) -> UserError:
    return UserError(f'{where}: holds weights under {" and ".join(keys)}; say which to take: {HOW_TO_CHOOSE}')


def _parts(content: Mapping, tensors: Tensors) -> list[str]:
    """The entries of unknown names that contain all tensors of a file. Empty if a tensor is in no entry."""
    parts = {key: len(_below(tensors, str(key))) for key, value in content.items() if isinstance(value, Mapping)}
    return [str(key) for key, count in parts.items() if count] if sum(parts.values()) == len(tensors) else []


def _flat(content: Mapping, above: str = '') -> Iterator[tuple[str, Tensor]]:
    """All tensors. Their names are the entries that contain them, joined with dots."""
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping):
            yield from _flat(value, f'{above}{key}.')
        elif isinstance(key, str) and isinstance(value, Tensor):
            yield above + key, value


def _below(tensors: Tensors, entry: str) -> Tensors:
    if not entry:
        return tensors
    return {name[len(entry) + 1 :]: value for name, value in tensors.items() if name.startswith(f'{entry}.')}
