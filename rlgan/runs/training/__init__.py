"""A run under way: its state at the start, what it logs, measures and saves, its loop, and many seeds of it."""
