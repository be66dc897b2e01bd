"""Environments: which one, how they are stepped, how their state is saved; and the sparse tasks."""
