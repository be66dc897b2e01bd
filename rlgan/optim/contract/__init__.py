"""A look at what no test of ours has seen: before the first step each piece is tried once, a fault said in a line."""
