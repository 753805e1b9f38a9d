"""The networks that a benchmark knows, by the paper's names."""

from pathlib import Path
from typing import Any

from sst.checkpoints.published import stem_of
from sst.options import load_options
from sst.utils.errors import UserError

OPTIONS = Path(__file__).resolve().parents[2] / 'options'
MODELS = ('SST-light', 'SST-light+', 'SST', 'SST+', 'SST-L', 'SST-L+', 'SST-XL+')


def load_network(model: str, scale: int) -> dict[str, Any]:
    """`network_g` of a model of the paper, or of an option file, at a scale.

    Raises:
        UserError: there is no such model or file, or the options are faulty.
    """
    if model in MODELS:
        path = OPTIONS / f'test_{stem_of(model)}_x{scale}.yml'
        return load_options(path)['network_g']
    if model.endswith(('.yml', '.yaml')):
        return load_options(model, [f'scale={scale}'])['network_g']
    raise UserError(f'--models {model}: allowed are {", ".join(MODELS)}, or an option file (.yml)')
