"""Which part may import which, read from the source: wings never see each other, the ground sees no wing."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

import rlgan

PACKAGE = Path(rlgan.__file__).parent
WINGS = {"gan", "rl", "erm"}
GROUND = {"task", "nets", "optim", "reading"}

# What a part of the package may import of the package, besides itself.
ALLOWED = {
    "optim": set[str](),
    "nets": set[str](),
    "task": {"optim"},
    "reading": {"task"},
    **dict.fromkeys(WINGS, GROUND),
    "runs": GROUND,
    "lectures": GROUND | WINGS | {"runs"},
    "templates": GROUND | WINGS | {"runs"},
    "face": GROUND | {"runs"},
    "__main__": {"runs"},
    "__init__": {"face"},
}
# Beside the standard library; a part that is not listed may import any dependency.
OUTSIDE = {"optim": {"torch", "filelock", "cloudpickle"}, "__main__": set[str](), "__init__": set[str]()}
LARGEST_FOLDER, LONGEST_FILE = 11, 400

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(PACKAGE)) for file in FILES]


def part(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module(file: Path) -> str:
    """`rlgan/optim/update.py` -> `rlgan.optim.update`; a package's face is the package."""
    return ".".join(["rlgan", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def imports(source: str, package: str) -> set[str]:
    """Every module that the source imports, at any depth of nesting, by absolute name; with each name it takes."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def at_run_time(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """The imports that happen when a module is loaded: not those of type checkers, nor within functions."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += at_run_time(node)
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


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """The modules that are reached again from themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        open_ = [*arrows[start]]
        while open_:
            at = open_.pop()
            if at not in seen:
                seen.add(at)
                open_ += arrows.get(at, ())
        return seen

    return sorted(name for name in arrows if name in reached(name))


def file_arrows() -> dict[str, set[str]]:
    """Which file loads which. A package's face loads its files; whoever imports a file of it does not need the face."""
    known = {module(file) for file in FILES}
    arrows: dict[str, set[str]] = {}
    for file in FILES:
        wanted: set[str] = set()
        for node in at_run_time(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            else:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= {name if name in known else str(node.module) for name in names}
        arrows[module(file)] = wanted & known - {module(file)}
    return arrows


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_imports_run_downwards(file: Path) -> None:
    assert part(file) in ALLOWED, f"{file.name}: a new part of the house; say in this test what it may import"
    package = ".".join(["rlgan", *file.relative_to(PACKAGE).parent.parts])
    assert violations(part(file), imports(file.read_text(), package)) == []


def test_no_file_is_reached_again_from_itself() -> None:
    assert circles(file_arrows()) == []


def test_the_check_sees_every_form_of_import() -> None:
    assert violations("gan", imports("def f():\n    from ..rl import ddpg", "rlgan.gan")) == ["rlgan.rl.ddpg"]
    assert violations("gan", imports("from rlgan import rl", "rlgan.gan")) == ["rlgan.rl"]
    assert violations("runs", imports("import rlgan.gan.wgan", "rlgan.runs")) == ["rlgan.gan.wgan"]
    assert violations("task", imports("from rlgan.runs.logging import logger", "rlgan.task")) != []
    assert violations("optim", imports("import numpy, math, torch.func", "rlgan.optim")) == ["numpy"]
    assert violations("rl", imports("from rlgan.optim import Adam\nfrom . import envs", "rlgan.rl")) == []


@pytest.mark.parametrize(
    ("file", "turned"),
    [
        ("rlgan.optim.step.vector", "rlgan.optim.play.player"),
        ("rlgan.task.errors", "rlgan.task.task"),
        ("rlgan.rl.losses", "rlgan.rl.agents.ddpg"),
    ],
)
def test_an_arrow_turned_round_makes_a_circle(file: str, turned: str) -> None:
    arrows = file_arrows()
    arrows[file] = arrows[file] | {turned}
    assert file in circles(arrows) and turned in circles(arrows)


def test_no_part_is_an_attic_or_larger_than_one_can_hold_in_mind() -> None:
    attics = [name for name, file in zip(NAMES, FILES, strict=True) if file.stem in ("utils", "helpers", "common")]
    long = {
        name: n
        for name, file in zip(NAMES, FILES, strict=True)
        if (n := len(file.read_text().split("\n"))) > LONGEST_FILE
    }
    full = {str(folder): n for folder, n in Counter(f.parent for f in FILES).items() if n > LARGEST_FOLDER}
    assert attics == [] and long == {} and full == {}
