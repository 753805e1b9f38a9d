"""BasicSR's keys that mean something here too, or nothing: taken or left out, with a note in the log."""

from collections.abc import Iterator
from typing import Any

# Inside any section of `datasets`, where that does not know them itself.
NEEDLESS_FOR_DATA = {
    'dataset_enlarge_ratio': 'the data stream has no epochs',
    'use_shuffle': 'training pictures come in an order that follows from manual_seed',
    'num_prefetch_queue': 'the queue of prefetch_mode cpu has a fixed length',
    'persistent_workers': 'the workers live as long as the run',
    'phase': 'it follows from the name of the section',
}
# And inside those to validate or to test on.
NEEDLESS_FOR_EVALUATION = {
    'use_hflip': 'only training flips pictures',
    'use_rot': 'only training turns pictures',
    'batch_size_per_gpu': 'pictures are evaluated one by one',
    'num_worker_per_gpu': 'val.num_workers counts',
}
NEEDLESS = {
    'is_train': 'sst/train.py trains and sst/test.py tests',
    'dist': 'the launcher is found from the environment',
    'print_network': '--dry-run tells the size of the network',
    'use_static_graph': 'SST uses all its weights',
}


def needless(place: tuple[str | int, ...]) -> str:
    """Why a key at a place is not needed, or ''."""
    match place:
        case (str(key),):
            return NEEDLESS.get(key, '')
        case ('datasets', 'train', str(key)):
            return NEEDLESS_FOR_DATA.get(key, '')
        case ('datasets', _, str(key)):
            return (NEEDLESS_FOR_DATA | NEEDLESS_FOR_EVALUATION).get(key, '')
    return ''


def translate(content: dict[str, Any], processes: int) -> Iterator[str]:
    """Give BasicSR's keys in an option file or an override our names, in place; yields a note for each.

    Args:
        content (dict): what is to be merged.
        processes (int): how many train together; BasicSR counts samples for each of them.
    """
    if content.get('model_type') == 'SRModel':
        content['model_type'] = 'SSTModel'
        yield 'model_type SRModel becomes SSTModel, which reads the same keys and computes the same losses'
    datasets = content.get('datasets')
    train = datasets.get('train') if isinstance(datasets, dict) else None
    each = train.get('batch_size_per_gpu') if isinstance(train, dict) else None
    refers = isinstance(each, str) and '${' in each
    if isinstance(train, dict) and 'batch_size' not in train and (refers or type(each) is int):
        del train['batch_size_per_gpu']
        train['batch_size'] = f'${{mul:{each},{processes}}}' if refers else each
        if type(each) is int:
            train['batch_size'] = each * processes
        total = train['batch_size']
        yield f'datasets.train.batch_size_per_gpu {each} becomes batch_size {total}, over {processes} process(es)'
    renamed = ((train, 'num_worker_per_gpu', 'num_workers'), (content.get('path'), 'strict_load', 'strict_load_g'))
    for section, theirs, ours in renamed:
        if isinstance(section, dict) and theirs in section and ours not in section:
            section[ours] = section.pop(theirs)
            yield f'{theirs} becomes {ours}'
