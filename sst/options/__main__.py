"""`python -m sst.options` writes options/schema.json anew."""

from sst.options.json_schema import write_schema

print(f'written: {write_schema()}')
