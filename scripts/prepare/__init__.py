"""The subcommands of prepare_data.py, one module each."""
