"""Studies of many runs: what differs between them is found, and curves, intervals and one page are made of them."""
