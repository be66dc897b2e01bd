"""Two players: the figures of lectures on games and on generative adversarial networks."""
