"""SST: super-resolution Transformers with FlashAttention-compatible window attention (arXiv 2603.06738).

Importing `sst` makes BasicSR importable on today's stack, then registers our networks, datasets, metrics and models.
For pictures: `sst.load_model`, `sst.Upscaler`; for weights files: `sst.from_pretrained`, `sst.save_pretrained`.
"""

from typing import TYPE_CHECKING, Any

from sst.utils.starting import starting

with starting():
    from sst import basicsr_compat
    from sst.utils.optional import hide_unusable

    hide_unusable('triton', 'language')  # before torch looks for it
    hide_unusable('imagecodecs', 'version')  # before tifffile does
    basicsr_compat.install()

    from sst import archs, data, interop, metrics, models, rivals  # noqa: F401  # after BasicSR; imported to register
    from sst.checkpoints.pretrained import from_pretrained, save_pretrained
    from sst.utils.allocator import keep_memory

if TYPE_CHECKING:
    from sst.api import Upscaler, load_model

__version__ = '0.1.0'
__all__ = ['Upscaler', 'from_pretrained', 'keep_memory', 'load_model', 'save_pretrained']


def __getattr__(name: str) -> Any:
    """`Upscaler` and `load_model`, imported when they are first asked for: training does without them."""
    if name not in ('Upscaler', 'load_model'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from sst import api

    return getattr(api, name)
