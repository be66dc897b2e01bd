"""Measure a run's checkpoint again: `python scripts/evaluate.py RUN checkpoint=best`."""

from rlgan.runs.cli import evaluate_main

if __name__ == "__main__":
    evaluate_main()
