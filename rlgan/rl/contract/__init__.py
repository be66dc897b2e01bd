"""A look at environments that are not ours, before the first step."""
