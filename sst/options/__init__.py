"""Option files: reading, merging, checking.

What a file may hold is in `schema.py`; the kinds of parts that it may name are in `registries.py`.
"""

from sst.options import released_real  # noqa: F401  # imported to register
from sst.options.document import write_document
from sst.options.faults import OptionsError
from sst.options.json_schema import write_schema
from sst.options.load import checked_options, load_options
from sst.options.schema import Options

__all__ = ['Options', 'OptionsError', 'checked_options', 'load_options', 'write_document', 'write_schema']
