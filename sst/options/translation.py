"""Keys of BasicSR's and the released SST's option files that are understood: what they become, or why they go."""

from collections.abc import Iterator, Mapping
from typing import Any

from sst.options.released import network_options, released_kind

Section = tuple[str | int, ...]

# Left out with a note in the log. In any section of `datasets` that does not know them itself:
NOT_NEEDED_FOR_DATA = {
    'dataset_enlarge_ratio': 'training reads an endless stream of images, without epochs',
    'use_shuffle': 'manual_seed decides the order of the training images',
    'num_prefetch_queue': 'prefetch_mode cpu has a queue of fixed length',
    'persistent_workers': 'the loading processes live as long as the run',
    'phase': 'the name of the section tells it',
}
# In sections to validate or to test on:
NOT_NEEDED_FOR_EVALUATION = {
    'use_hflip': 'only training flips images',
    'use_rot': 'only training turns images',
    'batch_size_per_gpu': 'images are evaluated one by one',
    'num_worker_per_gpu': 'val.num_workers counts',
}
NOT_NEEDED = {
    'is_train': 'sst/train.py trains and sst/test.py tests',
    'dist': 'the environment tells the launcher',
    'print_network': '--dry-run tells the size of the network',
    'use_ema': 'val.use_ema and path.param_key_g say which weights are tested',
    'use_static_graph': 'SST uses all its weights',
}

# BasicSR's models that do what SSTModel does for the same keys; SSTModel also pads to the windows of SwinIR.
MODELS = ('SRModel', 'SwinIRModel')
MIN_SIZE = 64  # pixels: to multiples of it SSTReal extends LR images
RENAMED = {
    ('datasets', 'train', 'num_worker_per_gpu'): 'num_workers',
    ('path', 'strict_load'): 'strict_load_g',
}


def why_not_needed(place: Section) -> str:
    """Why a key at a place is not needed, or ''."""
    match place:
        case (str(key),):
            return NOT_NEEDED.get(key, '')
        case ('datasets', 'train', str(key)):
            return NOT_NEEDED_FOR_DATA.get(key, '')
        case ('datasets', _, str(key)):
            return (NOT_NEEDED_FOR_DATA | NOT_NEEDED_FOR_EVALUATION).get(key, '')
    return ''


def translate(content: dict[str, Any], processes: int) -> Iterator[str]:
    """Replace keys of BasicSR and of the released SST in an option file or an override; yields a note for each.

    Args:
        content (dict): what is to be merged; it is changed in place.
        processes (int): how many train together; BasicSR counts samples for each of them.

    Raises:
        ValueError: the release does not have such a network.
    """
    if (model := content.get('model_type')) in MODELS:
        content['model_type'] = 'SSTModel'
        yield f'model_type {model} becomes SSTModel, which reads the same keys and computes the same losses'
    for (*above, old), new in RENAMED.items():
        section: Any = content
        for key in above:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and old in section and new not in section:
            section[new] = section.pop(old)
            yield f'{old} becomes {new}'
    val = content.get('val')
    if isinstance(val, dict) and val.get('min_size') == MIN_SIZE:
        del val['min_size']
        yield f'val.min_size {MIN_SIZE} is not needed, because SSTReal always extends images to multiples of it'
    network = content.get('network_g')
    if isinstance(network, Mapping) and (kind := released_kind(network)):
        content['network_g'] = network_options(network)
        yield f'network_g of the released {kind} becomes that of ours'
    yield from _translate_batch(content.get('datasets'), processes)


def _translate_batch(datasets: Any, processes: int) -> Iterator[str]:
    train = datasets.get('train') if isinstance(datasets, dict) else None
    if not isinstance(train, dict) or 'batch_size' in train:
        return
    each = train.get('batch_size_per_gpu')
    if type(each) is int or (isinstance(each, str) and '${' in each):
        del train['batch_size_per_gpu']
        train['batch_size'] = each * processes if isinstance(each, int) else f'${{mul:{each},{processes}}}'
        total = train['batch_size']
        yield f'datasets.train.batch_size_per_gpu {each} becomes batch_size {total}, over {processes} process(es)'
