"""The section `compare` of an experiment: what is claimed, the variants, the rules and the figure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlgan.runs.compare.ran import Drawn
from rlgan.runs.compare.rules import Rule
from rlgan.runs.config.build import build, function
from rlgan.runs.config.trust import EVERYONE, Trust
from rlgan.runs.config.words import pieces
from rlgan.task.errors import ConfigError

#: A variant's name is a folder beside these.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,63}")
_TAKEN = ("checkpoints", "pictures", "evaluation", "lock")


@dataclass(frozen=True)
class Section:
    """What a comparison is about.

    Args:
        title: of the picture.
        claim: what is to be seen, in a sentence or two.
        deck: the lecture that says so, with course and year.
        slide: the heading there.
        variants: words as on the command line, by the variant's name.
        rules: expressions over the figure's numbers, by a sentence; the claim is seen if all of them hold.
    """

    title: str
    variants: dict[str, list[str] | str]
    rules: dict[str, str] = field(default_factory=dict)
    claim: str = ""
    deck: str = ""
    slide: str = ""

    @property
    def words(self) -> dict[str, list[str]]:
        """The words of every variant; on the command line a list with `=` in it is one text, `[game=a,seed=1]`."""
        return {name: list(said) if isinstance(said, list) else _listed(said) for name, said in self.variants.items()}


def _listed(text: str) -> list[str]:
    """The words of `[game=a, network.hidden=[8,8]]`, with the outer brackets or without."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return [word.strip() for word in pieces(text)]


@dataclass(frozen=True)
class Comparison:
    """A section that has been read: rules and figure can be used.

    Args:
        section: what it says.
        rules: by their sentences.
        figure: called with `runs`, the finished variants by name.
    """

    section: Section
    rules: Mapping[str, Rule]
    figure: Callable[..., Drawn]

    @staticmethod
    def of(node: Any, trust: Trust = EVERYONE) -> Comparison:
        """Read a section.

        Args:
            node: plain containers.
            trust: whose names are looked up.

        Raises:
            ConfigError: a key or value that cannot be used; the message begins with its place.
        """
        if not isinstance(node, Mapping):
            raise ConfigError(f"compare = {node}: must be a section with title, variants and figure, or null")
        plain = {key: value for key, value in node.items() if key != "figure"}
        section: Section = build(plain, "compare", Section, Section, trust)
        if not section.variants:
            raise ConfigError("compare.variants = {}: names none; give each a name and words, as {slow: [seed=1]}")
        for name, words in section.words.items():
            if not _NAME.fullmatch(name) or name in _TAKEN:
                raise ConfigError(
                    f"compare.variants.{name}: is no name for a variant; use letters, digits, _, - and +, at most 64"
                )
            if odd := [word for word in words if "=" not in word and not word.startswith("~") and word]:
                raise ConfigError(f"compare.variants.{name} = {odd[0]}: is no key=value; write words as in a command")
        rules = {said: Rule(text, f"compare.rules.{said}") for said, text in section.rules.items()}
        if "figure" not in node:
            raise ConfigError("compare.figure: is missing; name a function (runs, **settings) -> Drawn by _target_")
        return Comparison(section, rules, function(node["figure"], "compare.figure", Drawn, ["runs"], trust))
