"""`python -m sst.options` writes options/schema.json and docs/options.md anew."""

from sst.options import write_document, write_schema
from sst.utils.command_line import CommandLine

CommandLine(prog='python -m sst.options', description='Writes options/schema.json and docs/options.md.').parse_args()
print(f'written: {write_schema()}, {write_document()}')
