"""Sweeps: many runs by Hydra's launchers and sweepers, in one folder, and gone on with by the same command."""
