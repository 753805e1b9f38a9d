"""Kills training runs, damages files, and looks whether every promise of docs/reliability.md holds."""
