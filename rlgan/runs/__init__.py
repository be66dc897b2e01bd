"""Run machinery: settings, configuration, run directories, checkpoints, logging and the loop. Imports no wing."""
