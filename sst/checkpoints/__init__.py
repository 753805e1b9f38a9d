"""Weights files: ours written and read, networks built from them. `sst/interop` adds the files of other programs."""
