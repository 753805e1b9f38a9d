"""Other people's files and programs: released checkpoints and option files, spandrel, ONNX."""

from sst.interop import released, released_real  # noqa: F401  # imported to register
