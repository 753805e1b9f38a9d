"""Parts of `scripts/ablate.py`: the tables, what a run trains, and the runs themselves."""
