"""What BasicSR 1.4.2 lacks on today's stack. No other file knows about it.

`install` makes `import basicsr` work; `replaced` swaps names in one of its modules for the duration of a run.
"""

import importlib
import os
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sst.utils.errors import UserError

_installed = False


def install() -> None:
    """Make BasicSR importable and import it. Calling it again does nothing."""
    global _installed
    if _installed:
        return
    _stand_in_functional_tensor()
    _stand_in_scipy_filters()
    temporary = _stand_in_distutils()
    try:
        importlib.import_module('basicsr')
    finally:
        for name in temporary:
            del sys.modules[name]
    _replace_folder_pairing()
    _installed = True


@contextmanager
def replaced(module: types.ModuleType, **names: Any) -> Iterator[None]:
    """Swap `names` in `module` while the context lasts.

    Raises:
        AttributeError: a name is not in the module, so swapping it would change nothing.
    """
    absent = [name for name in names if name not in vars(module)]
    if absent:
        raise AttributeError(
            f'{module.__name__} has no {", ".join(absent)}: this is not the BasicSR 1.4.2 that the '
            "driver was written for; install it with: pip install 'basicsr==1.4.2'"
        )
    before = {name: vars(module)[name] for name in names}
    vars(module).update(names)
    try:
        yield
    finally:
        vars(module).update(before)


def _stand_in_functional_tensor() -> None:
    # basicsr/data/degradations.py imports torchvision.transforms.functional_tensor, gone since torchvision 0.17.
    name = 'torchvision.transforms.functional_tensor'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            importlib.import_module(name)
            return
        except ImportError:
            pass
    from torchvision.transforms.functional import rgb_to_grayscale

    stand_in = types.ModuleType(name)
    vars(stand_in)['rgb_to_grayscale'] = rgb_to_grayscale
    sys.modules[name] = stand_in


def _stand_in_scipy_filters() -> None:
    # basicsr/metrics/niqe.py and basicsr/data/data_util.py use scipy.ndimage.filters: a DeprecationWarning at each
    # access today, gone in SciPy 2.
    import scipy.ndimage

    name = 'scipy.ndimage.filters'
    stand_in = types.ModuleType(name)
    vars(stand_in).update({public: getattr(scipy.ndimage, public) for public in scipy.ndimage.__all__})
    sys.modules[name] = stand_in
    vars(scipy.ndimage)['filters'] = stand_in


def _stand_in_distutils() -> list[str]:
    # basicsr/archs/arch_util.py imports distutils.version, gone since Python 3.12 where setuptools does not bring it
    # back. The stand-in is taken away after the import, so that nobody takes it for the whole of distutils.
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            importlib.import_module('distutils.version')
            return []
        except ImportError:
            pass
    from packaging.version import Version

    package, module = types.ModuleType('distutils'), types.ModuleType('distutils.version')
    vars(module)['LooseVersion'] = Version
    vars(package)['version'] = module
    sys.modules['distutils'] = package
    sys.modules['distutils.version'] = module
    return ['distutils', 'distutils.version']


def _replace_folder_pairing() -> None:
    # basicsr.data.data_util.paired_paths_from_folder keeps the order of os.scandir, which differs between machines,
    # searches a list per picture (minutes for 100,000 pictures) and reports faults as assertions.
    for name in ('basicsr.data.data_util', 'basicsr.data.paired_image_dataset'):
        vars(importlib.import_module(name))['paired_paths_from_folder'] = paired_paths_from_folder


def paired_paths_from_folder(folders: list[str], keys: list[str], filename_tmpl: str) -> list[dict[str, str]]:
    """Pair the pictures of an LQ and a GT folder by name, in the order of their names.

    Args:
        folders: [LQ folder, GT folder].
        keys: their names in the result, `['lq', 'gt']` giving `lq_path` and `gt_path`.
        filename_tmpl: LQ name from the GT name, both without extension, as `'{}x2'`.

    Raises:
        UserError: pictures without a partner.
    """
    (lq_folder, gt_folder), (lq_key, gt_key) = folders, keys
    lq_names, gt_names = _file_names(lq_folder), _file_names(gt_folder)
    partners = {}
    for gt_name in gt_names:
        stem, extension = os.path.splitext(gt_name)
        partners[gt_name] = f'{filename_tmpl.format(stem)}{extension}'
    known = set(lq_names)
    lonely_gt = [name for name in gt_names if partners[name] not in known]
    lonely_lq = sorted(known - set(partners.values()))
    if lonely_gt or lonely_lq:
        faults = []
        if lonely_gt:
            faults.append(
                f'{len(lonely_gt)} of {len(gt_names)} pictures in {gt_folder} have no partner in {lq_folder} '
                f'(filename_tmpl is "{filename_tmpl}"; first: {lonely_gt[0]} needs '
                f'{partners[lonely_gt[0]]})'
            )
        if lonely_lq:
            faults.append(
                f'{len(lonely_lq)} of {len(lq_names)} files in {lq_folder} belong to no picture in '
                f'{gt_folder} (first: {lonely_lq[0]})'
            )
        raise UserError('\n'.join(faults))
    return [
        {f'{lq_key}_path': str(Path(lq_folder, partners[name])), f'{gt_key}_path': str(Path(gt_folder, name))}
        for name in gt_names
    ]


def _file_names(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith('.'))
