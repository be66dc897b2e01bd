"""Networks and layers that bound their own slope, and upper bounds of any network's.

Its files are imported one by one (`rlgan.nets.mlp` needs `bounds`, and `spectral` needs `rlgan.nets.mlp`); the public
names are those of `rlgan.nets`.
"""
