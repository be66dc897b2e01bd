"""A learning rate for each parameter: the figures of lectures on adaptive methods."""
