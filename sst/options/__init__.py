"""Option files: reading, merging, checking. What the files may hold is in `schema.py`."""

from sst.options.document import write_document
from sst.options.faults import OptionsError
from sst.options.json_schema import write_schema
from sst.options.load import load_options
from sst.options.network import SSTNetwork

__all__ = ['OptionsError', 'SSTNetwork', 'load_options', 'write_document', 'write_schema']
