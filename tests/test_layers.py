"""Which part may import which, read from the source: wings never see each other, the ground sees no wing."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import rlgan

PACKAGE = Path(rlgan.__file__).parent
WINGS = {"gan", "rl", "erm"}

# What a part of the package may import of the package, besides itself.
ALLOWED = {
    "optim": set[str](),
    "nets": set[str](),
    "runs": set[str](),
    "gan": {"optim", "nets", "runs"},
    "rl": {"optim", "nets", "runs"},
    "erm": {"optim", "nets", "runs"},
    "cli": {"runs"},
    "__main__": {"cli"},
    "__init__": set[str](),
}
# Beside the standard library; a part that is not listed may import any dependency.
OUTSIDE = {"optim": {"torch"}, "__main__": set[str](), "__init__": set[str]()}


def part(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str, package: str) -> set[str]:
    """Every module that the source imports, at any depth of nesting, by absolute name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            found |= {base} if base != "rlgan" else {f"rlgan.{alias.name}" for alias in node.names}
    return found


def violations(own: str, modules: set[str]) -> list[str]:
    wrong = []
    for name in sorted(modules):
        root, _, rest = name.partition(".")
        if root == "rlgan":
            used = rest.split(".")[0]
            if used and used not in ("__version__", own) and used not in ALLOWED[own]:
                wrong.append(name)
        elif own in OUTSIDE and root not in sys.stdlib_module_names and root not in OUTSIDE[own]:
            wrong.append(name)
    return wrong


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(PACKAGE)) for file in FILES])
def test_imports_run_downwards(file: Path) -> None:
    assert part(file) in ALLOWED, f"{file.name}: a new part of the house; say in this test what it may import"
    package = ".".join(["rlgan", *file.relative_to(PACKAGE).parent.parts])
    assert violations(part(file), imports(file.read_text(), package)) == []


def test_the_check_sees_every_form_of_import() -> None:
    assert violations("gan", imports("def f():\n    from ..rl import ddpg", "rlgan.gan")) == ["rlgan.rl"]
    assert violations("gan", imports("from rlgan import rl", "rlgan.gan")) == ["rlgan.rl"]
    assert violations("runs", imports("import rlgan.optim.game", "rlgan.runs")) == ["rlgan.optim.game"]
    assert violations("optim", imports("import numpy, math, torch.func", "rlgan.optim")) == ["numpy"]
    assert violations("rl", imports("from rlgan.optim import Adam\nfrom . import envs", "rlgan.rl")) == []


def test_no_part_is_an_attic_or_larger_than_one_can_hold_in_mind() -> None:
    attics = [file.name for file in FILES if file.stem in ("utils", "helpers", "common", "misc")]
    long = {
        str(file.relative_to(PACKAGE)): lines for file in FILES if (lines := len(file.read_text().split("\n"))) > 400
    }
    assert attics == [] and long == {}
