"""Parts of `scripts/analyze.py`: networks, images, and a module for each kind of analysis."""
