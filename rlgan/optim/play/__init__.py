"""Who moves when: the players, the field of their gradients, the order of play."""
