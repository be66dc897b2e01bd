"""Wasserstein GANs and deterministic policy gradients as one two-player game on flat parameter vectors."""

__version__ = "0.1.0"
