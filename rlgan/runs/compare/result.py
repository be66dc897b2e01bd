"""The end of a comparison: its figure is drawn, its rules are decided, and it is said whether the claim was seen."""

from __future__ import annotations

import io
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlgan.runs.compare.ran import Drawn, Ran
from rlgan.runs.compare.section import Comparison
from rlgan.runs.config.trust import Trust
from rlgan.runs.record.directory import OF_THE_START, short_path
from rlgan.runs.record.files import read_lines, write_atomically
from rlgan.task.errors import ConfigError, RunError

DPI = 180


def conclude(path: Path, comparison: Comparison, trust: Trust) -> dict[str, Any]:
    """Draw RUN/figure.png from the finished variants, and decide the rules.

    Args:
        path: of the comparison.
        comparison: what it is about.
        trust: whose names the variants' directories may have looked up.

    Returns:
        summary.json: `seen` (None without rules), `rules` by sentence, `numbers`, what the section says, the command,
        the variants' words, `seconds` of training, versions.

    Raises:
        ConfigError: the figure function asks for a metric that is not there, or does not return what it should.
        RunError: the picture cannot be written, or a variant's files cannot be read.
    """
    section = comparison.section
    runs = {name: Ran(name, path / name, trust) for name in section.variants}
    try:
        drawn = comparison.figure(runs=runs)
        numbers = _numbers(drawn)
        image = io.BytesIO()
        drawn.figure.savefig(image, format="png", dpi=DPI)
        _write(path / "figure.png", image.getvalue())
        seconds = sum(ran.seconds for ran in runs.values())
    finally:
        for ran in runs.values():
            ran.close()
    rules = {}
    for said, rule in comparison.rules.items():
        verdict = rule.decide(numbers)
        measured = {name: _plain(value) for name, value in verdict.measured.items()}
        rules[said] = {"rule": verdict.rule, "holds": verdict.holds, "measured": measured}
        if verdict.why:
            rules[said]["why"] = verdict.why
    start = next(iter(read_lines(path / "overrides.jsonl")), {})
    return {
        "seen": all(rule["holds"] for rule in rules.values()) if rules else None,
        "rules": rules,
        "numbers": {name: _plain(value) for name, value in numbers.items()},
        "title": section.title,
        "claim": section.claim,
        "deck": section.deck,
        "slide": section.slide,
        "command": _command(start.get("overrides", [])),
        "variants": {name: " ".join(words) for name, words in section.words.items()},
        "seconds": seconds,
        "versions": start.get("versions", {}),
    }


def report(summary: Mapping[str, Any]) -> str:
    """Lay out for the terminal what `conclude` found."""
    rules: Mapping[str, Mapping[str, Any]] = summary["rules"]
    if not rules:
        return "\n".join(
            [summary["title"], *(f"  {name} = {said(value)}" for name, value in summary["numbers"].items())]
        )
    lines = [f"{summary['title']}: {'seen' if summary['seen'] else 'not seen'}"]
    for sentence, rule in rules.items():
        found = ", ".join(f"{name} = {said(value)}" for name, value in rule["measured"].items())
        found = "; ".join(filter(None, (rule.get("why", ""), found)))
        lines += [f"  {'yes' if rule['holds'] else 'no':<3}  {sentence}", f"       {rule['rule']}    [{found}]"]
    if lacking := sum(not rule["holds"] for rule in rules.values()):
        lines.append(f"  the claim was not seen: {lacking} of {len(rules)} rules do not hold")
    return "\n".join(lines)


def said(value: Any) -> str:
    """A number of a summary in a few digits."""
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def _write(file: Path, data: bytes) -> None:
    try:
        write_atomically(file, data)
    except OSError as error:
        raise RunError(f"{short_path(file)}: cannot be written ({error.strerror or error}); make room") from error


def _numbers(drawn: Any) -> dict[str, float]:
    """The numbers that a figure function returned.

    Raises:
        ConfigError: it returned something else.
    """
    if not (isinstance(drawn, tuple) and len(drawn) == 2 and hasattr(drawn[0], "savefig")):
        raise ConfigError(
            f"compare.figure: returned a {type(drawn).__name__}; it must return Drawn(figure, numbers), see "
            "rlgan.runs.compare"
        )
    numbers = {}
    for name, value in Drawn(*drawn).numbers.items():
        try:
            numbers[str(name)] = float(value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"compare.figure: its number {name} is a {type(value).__name__}; return one number under each name"
            ) from None
    return numbers


def _plain(value: float) -> float | str:
    """A number as JSON has it; what is not finite is a word."""
    return value if math.isfinite(value) else str(value)


def _command(words: Any) -> str:
    """The command, without what belongs to one start of it."""
    kept = [str(word) for word in words if str(word).lstrip("+~").partition("=")[0] not in OF_THE_START]
    return shlex.join(["rlgan", *kept])
