"""Comparisons: variants of a run trained one after another, one picture of them, and rules that decide a claim.

A figure function is `f(runs: Mapping[str, Ran], **settings) -> Drawn`; an experiment names it as `compare.figure`.
"""

from rlgan.runs.compare.ran import Drawn, Ran
