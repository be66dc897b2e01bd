"""Where a run's numbers, pictures and words go: metrics.jsonl, and the sinks of `logger=[tensorboard,csv,wandb]`."""
