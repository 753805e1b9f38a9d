"""What to type if weights do not fit the network of an option file."""

from pathlib import Path

from sst.checkpoints.facts import facts, own_network
from sst.checkpoints.fitting import MisfitError
from sst.checkpoints.networks import built
from sst.options.merging import read_chain
from sst.options.references import resolve
from sst.utils.errors import UserError

MODELS = Path('options', '_base_', 'models')


def advice(misfit: MisfitError, root: Path) -> str:
    """The option files in options/_base_/models that fit, and how the network of the weights is taken."""
    theirs, ours = misfit.theirs, misfit.ours
    scale = f' scale={theirs.scale}' if theirs.scale not in (None, ours.scale) else ''
    if scale and theirs.with_scale(ours.scale) == ours:
        return f'to take their scale: --force_yml{scale}'
    fitting = ' or '.join(
        str(MODELS / file.name) for file in sorted((root / MODELS).glob('*.yml')) if _fits(file, misfit)
    )
    named = f'{fitting} fits; ' if fitting else ''
    return f'{named}to take the network of the weights: --force_yml network_g:type=from_weights{scale}'


def _fits(file: Path, misfit: MisfitError) -> bool:
    try:
        network = resolve(read_chain(file).data | {'scale': misfit.ours.scale})[0]['network_g']
        if own_network(network['type']) is None:
            return False
        net = built(network, 'meta')
    except (UserError, LookupError, TypeError, ValueError):  # somebody's own file, or that which takes any weights
        return False
    found = facts(net.state_dict())
    fits = found is not None and found.with_scale(None) == misfit.theirs.with_scale(None)
    return fits and misfit.windows in ((), getattr(net, 'windows', ()))
