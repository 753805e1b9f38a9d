"""Parts of `scripts/report.py` and `scripts/ablate.py`: what runs left behind, and tables of it."""
