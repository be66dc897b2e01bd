"""Two workers on two cores, one thread each, or they wait for one another; and the long trials' table at the end."""

import json
import os

import pytest

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.pop("HYDRA_FULL_ERROR", None)
os.environ.pop("RLGAN_CONF", None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the trials of `pytest -m soak` found, as a Markdown table."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    found = [
        json.loads(str(value))
        for report in reports
        if getattr(report, "when", "") == "call"
        for key, value in report.user_properties
        if key == "soak"
    ]
    rows = [["what was done", "to", "times", "of these", "losses"], ["---"] * 5, *sorted(found)]
    for row in rows if found else ():
        terminalreporter.write_line("| " + " | ".join(map(str, row)) + " |")
