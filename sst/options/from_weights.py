"""`network_g: {type: from_weights}`: the network that weights tell of; an option file need not spell it out."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sst.options.faults import OptionsError
from sst.options.merging import Merged, take_out
from sst.options.references import resolve
from sst.options.registries import NETWORKS, scale_in
from sst.utils.errors import UserError

TYPE = 'from_weights'
Reader = Callable[[str, Mapping[str, Any], str | None], tuple[Path, dict[str, Any]]]
_readers: list[Reader] = []


def reads_networks(reader: Reader) -> Reader:
    """Enter the function that gives a file and its `network_g`.

    It gets the file's name, what an option file adds to `network_g`, and `path.param_key_g`.

    It reads weights, so it stands in a room above this one, which must not import it.
    """
    _readers.append(reader)
    return reader


def complete(merged: Merged, root: str | os.PathLike) -> None:
    """Put the network of `path.pretrain_network_g` below what the files say of `network_g`, and its scale below theirs.

    Raises:
        OptionsError: no weights are named, or they cannot be read or do not tell their network.
    """
    section = merged.data.get('network_g')
    if not isinstance(section, dict) or section.get('type') != TYPE:
        return
    where = f'{merged.origin(("network_g", "type"))}: network_g.type: {TYPE}'
    take_out(merged.data, {place for place in merged.inherited if place[0] == 'network_g'})
    data, _ = resolve(merged.data)
    paths = data['path'] if isinstance(data.get('path'), dict) else {}
    source, key = paths.get('pretrain_network_g'), paths.get('param_key_g')
    if not isinstance(source, str) or not source:
        raise OptionsError(f'{where} needs weights, add: --force_yml path:pretrain_network_g=FILE')
    here = Path(root, Path(source).expanduser())
    try:
        path, network = _readers[-1](
            str(here) if here.exists() else source, data['network_g'], key if isinstance(key, str) else None
        )
    except UserError as error:
        raise OptionsError('\n'.join(f'{where}: {line}' for line in str(error).splitlines())) from None
    del section['type']
    if 'scale' in merged.data and hasattr(NETWORKS[network['type']], 'recognise'):
        # a network of ours, which weights of a smaller scale may start
        network['scale'] = '${scale}'
    _, scale = scale_in(network)
    merged.fill({'network_g': network} | ({'scale': scale} if scale else {}), str(path))
