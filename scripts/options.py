"""The table of conf/README.md: `python scripts/options.py` shows it, `--write` puts it into its place.

Every option is one file of ``conf``; what stands beside its name is the first sentence of the comment at its head.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PAGE = ROOT / "conf" / "README.md"
MARKS = ("<!-- options: begin -->\n", "<!-- options: end -->\n")
WIDTH = 118


def described(text: str) -> str:
    """What a configuration says of itself: the id of an environment, and its comment's first sentence."""
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = " ".join(line.removeprefix("#").strip() for line in lines[:head])
    sentence = re.split(r"(?<!al)\. (?=[A-Z`])", comment)[0].rstrip(".:")
    config = OmegaConf.create(text)
    name = config.get("id") if isinstance(config, DictConfig) else None
    return ". ".join(filter(None, (name, sentence)))


def table() -> str:
    """Every group and its options as Markdown."""
    from rlgan.runs.options import conf_directory, options

    parts = []
    for group, names in options().items():
        width = max(map(len, names)) + 2
        rows = []
        for name in names:
            said = described((conf_directory() / group / f"{name}.yaml").read_text())
            rows.append(
                textwrap.fill(
                    f"{name:<{width}}{said}".rstrip(), WIDTH, subsequent_indent=" " * width, break_on_hyphens=False
                )
            )
        parts.append(f"### {group}\n\n```text\n" + "\n".join(rows) + "\n```\n")
    return "\n".join(parts)


def with_table(page: str) -> str:
    """The page with the table of now between its marks."""
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{after}"


def main() -> None:
    """Show the table, or write it."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--write", action="store_true", help=f"replace the table in {PAGE.relative_to(ROOT)}")
    if made.parse_args().write:
        PAGE.write_text(with_table(PAGE.read_text()))
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
