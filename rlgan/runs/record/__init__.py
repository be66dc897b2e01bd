"""What a run leaves behind: its directory, checkpoints, curves and pictures."""
