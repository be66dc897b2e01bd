"""Where transitions are kept, and how minibatches of them are drawn."""
