"""Studies: many runs of `scripts/train.py`, a file each; their tables and pictures lie in results/."""

STUDIES = {
    "gan": "a study: Lipschitz control x order of play x average on ring and grid, over seeds (results/gan/study.csv)",
    "gan_truth": "a study: a critic's dual over the true W1, by Lipschitz control (results/gan/truth.csv)",
    "known": "a study: agents by their defaults on tasks with a known optimum, beside peers (results/rl/known.csv)",
    "rl": "a study: exploration x environment over seeds, dense and sparse, and published marks (results/rl/study.csv)",
}
"""What to say after `python scripts/benchmark.py` for a study, and what it compares; results/ is the folder here."""
