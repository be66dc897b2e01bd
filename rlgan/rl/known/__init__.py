"""Environments that know the best that can be done in them, and how far an agent is from it."""
