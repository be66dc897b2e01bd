"""Runs: the command line, the loop, many seeds, resuming, evaluating. Imports no task by name."""
