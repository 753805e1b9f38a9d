"""Other people's files: released checkpoints and option files."""
