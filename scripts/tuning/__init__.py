"""What `scripts/check_kernels.py` and `scripts/sweep_kernels.py` are made of."""
