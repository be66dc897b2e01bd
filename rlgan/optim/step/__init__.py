"""One player's step, the equation: what the gradient becomes on its way to the parameters (`rlgan.optim`)."""
