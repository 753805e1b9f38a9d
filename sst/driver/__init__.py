"""Drives BasicSR's train and test pipelines: arguments, processes, checks, data, progress and records of a run."""
