"""Networks: the figures of lectures on what they can represent, how they begin, and how they learn and generalise."""
