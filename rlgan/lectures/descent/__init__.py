"""Gradient descent and its kin: the figures of lectures on surfaces, steps, momentum, noise, rates and averages."""
