"""The commands of prepare_data.py, one module each, and what they share."""

SCALES = (2, 3, 4)
