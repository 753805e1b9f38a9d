"""What `scripts/league.py` is made of."""
