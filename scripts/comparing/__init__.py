"""Training the same run in several ways, for scripts/compare_training.py."""

import sst  # noqa: F401  # makes BasicSR importable
