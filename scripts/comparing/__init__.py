"""Training the same run in several ways, for scripts/compare_training.py."""
