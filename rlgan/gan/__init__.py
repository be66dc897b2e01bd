"""The left wing: Wasserstein GANs."""
