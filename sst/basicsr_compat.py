"""What BasicSR 1.4.2 lacks on today's stack. No other file knows about it.

`install` makes `import basicsr` work; `replaced` swaps names in one of its modules for the duration of a run.
"""

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
            'driver was written for; install it with: python -m sst.install_basicsr'
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
