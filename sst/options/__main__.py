"""`python -m sst.options` writes options/schema.json and docs/options.md anew."""

from sst.options import write_document, write_schema

print(f'written: {write_schema()}, {write_document()}')
