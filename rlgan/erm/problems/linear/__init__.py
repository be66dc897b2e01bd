"""Problems of a linear model, of which the optimum is known."""
