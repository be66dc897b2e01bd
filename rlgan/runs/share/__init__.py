"""What leaves a run: its weights for another run to begin at, and a folder that others can use without rlgan."""
