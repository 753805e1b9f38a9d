"""Other people's files: released checkpoints and option files; networks in files that tell everything."""

from sst.interop import pretrained  # noqa: F401  # imported so that option files can take the network of weights
