"""SST: super-resolution Transformers with FlashAttention-compatible window attention (arXiv 2603.06738).

Importing `sst` makes BasicSR importable on today's stack, then registers our networks, datasets, metrics and models.
"""

from sst.utils.starting import starting

with starting():
    from sst import basicsr_compat

    basicsr_compat.install()

    from sst import archs, data, metrics, models  # noqa: F401  # BasicSR must be importable first; imported to register

__version__ = '0.1.0'
