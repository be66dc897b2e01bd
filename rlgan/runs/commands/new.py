"""`rlgan new`: a working package for a piece of one's own."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import rlgan
from rlgan.task.errors import ConfigError
from rlgan.task.suggest import closest

HELP = """\
rlgan new: write a small package that works, as the beginning of your own.

Usage: rlgan new KIND NAME      KIND is one of

{kinds}

It makes the folder NAME with a class that works, its option, its test, a README.md and a pyproject.toml by which an
installed package announces its options. It is tried at once from that folder, without being installed:

  rlgan new agent my_agent
  cd my_agent
  rlgan task=ddpg agent=my_agent
  pytest
"""


class Kind(NamedTuple):
    """What there may be one of.

    Args:
        group: of the configuration, where its option stands.
        what: a line.
        words: which try it, {} its name.
    """

    group: str
    what: str
    words: str

    def choice(self, name: str) -> str:
        """The word that chooses its option."""
        listed = self.group in ("callbacks", "metrics", "pictures")
        return f"{self.group}=[{name}]" if listed else f"{self.group}={name}"


KINDS = {
    "agent": Kind("agent", "two networks, their losses and how it acts (rlgan.rl.Agent)", "task=ddpg agent={}"),
    "callback": Kind(
        "callbacks", "called as a run goes on, may end it (rlgan.task.Callback)", "task=erm callbacks=[{}]"
    ),
    "control": Kind(
        "lipschitz",
        "what bounds a critic's slope (rlgan.gan.Lipschitz, rlgan.gan.Penalty)",
        "lipschitz={} optimizer@critic.optimizer=adam_wgan",
    ),
    "data": Kind("data", "samples for a GAN (rlgan.gan.Data)", "data={}"),
    "env": Kind("env", "an environment, stepped by itself or many at once (BatchedEnv)", "task=ddpg env={}"),
    "method": Kind("optimizer", "a step: momentum, metric, noise (rlgan.optim.Descent)", "task=erm optimizer={}"),
    "metric": Kind("metrics", "numbers of any task at evaluations (rlgan.task.Metric)", "task=erm metrics=[{}]"),
    "network": Kind("network", "a network for any task (rlgan.nets.NetworkSpec)", "task=erm network={}"),
    "picture": Kind("pictures", "a figure of any task at evaluations (rlgan.task.Painter)", "task=erm pictures=[{}]"),
    "problem": Kind("problem", "samples with labels, or a function (rlgan.erm.Problem)", "task=erm problem={}"),
    "task": Kind("task", "what trains, measures itself and can be saved (rlgan.task.Task)", "task={}"),
}
HELP = HELP.format(kinds="\n".join(f"  {name:<9} {kind.what}" for name, kind in KINDS.items()))

_TEMPLATES = Path(rlgan.__file__).parent / "templates"
_PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{project}"
version = "0.1"
dependencies = ["rlgan"]

[project.entry-points."rlgan.conf"]
{name} = "{name}.conf"

[tool.setuptools]
packages = ["{name}", "{name}.conf"]
package-dir = {{ "{name}.conf" = "conf" }}
package-data = {{ "{name}.conf" = ["**/*.yaml"] }}

[tool.pytest.ini_options]
pythonpath = ["."]
"""
_README = """\
# {name}

{title}

From this folder, without installing anything:

```sh
rlgan {words}
pytest
```

A run in this folder is measured and gone on with by a word more, since a run directory may come from a stranger:
`rlgan evaluate latest trust=[{name}]`.

From anywhere, once it is installed:

```sh
pip install .
rlgan {words}
```

| file | what it holds |
|---|---|
| `{name}/__init__.py` | the class `{cls}` |
| `conf/{group}/{name}.yaml` | the option `{choice}` with its defaults |
| `tests/test_{name}.py` | its test |
| `pyproject.toml` | the entry point `rlgan.conf`, by which rlgan finds `conf/` of an installed package |

A mistake in the class is told at the start in a line, with class and method; `HYDRA_FULL_ERROR=1` shows the traceback.
"""


def run(arguments: Sequence[str]) -> int:
    """Write a package as `new KIND NAME` says; returns the exit code."""
    if not arguments:
        print(HELP, end="")
        return 0
    kind, name = _asked(list(arguments))
    files = package(kind, name)
    _write(Path.cwd() / name, files)
    words = KINDS[kind].words.format(name)
    print(f"{name}/ has been written:")
    for path, text in files.items():
        print(f"  {path:<{max(map(len, files))}}   {len(text.splitlines())} lines")
    print(f"Try it:\n  cd {name}\n  rlgan {words}\n  pytest")
    return 0


def _asked(words: list[str]) -> tuple[str, str]:
    """The kind and the name.

    Raises:
        ConfigError: there is no such kind, or the name cannot be one.
    """
    if words[0] not in KINDS:
        close = closest(words[0], KINDS)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(KINDS)}"
        raise ConfigError(f"new {words[0]}: there is no such kind; {hint}")
    if len(words) != 2:
        said = "has no name" if len(words) == 1 else f"has more than one name, {' '.join(words[1:])}"
        raise ConfigError(f"new {words[0]}: {said}; for example rlgan new {words[0]} my_{words[0]}")
    kind, name = words
    _check_name(kind, name)
    return kind, name


def class_of(name: str) -> str:
    """`my_agent` -> `MyAgent`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _check_name(kind: str, name: str) -> None:
    from rlgan.runs.options import options

    def refused(why: str, remedy: str) -> ConfigError:
        return ConfigError(f"name = {name}: {why}; {remedy}")

    another = f"choose another, for example my_{name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        plain = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip("_").lower()
        fits = re.fullmatch(r"[a-z][a-z0-9_]*", plain) and not keyword.iskeyword(plain)
        use = plain if fits else f"my_{kind}"
        raise refused("is no name of a module: small letters, digits and underscores", f"for example {use}")
    if os.path.lexists(name):
        raise refused("is here already, and nothing is overwritten", "choose another, or go to another folder")
    if name in ("conf", "tests"):
        raise refused("is what a folder of the package is called", another)
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise refused("is a module that is installed, and would hide it", another)
    group = KINDS[kind].group
    if name in options().get(group, ()):
        raise refused(f"is an option already, {KINDS[kind].choice(name)}", another)
    source = (_TEMPLATES / kind / "piece.py").read_text()
    if re.search(rf"\b{class_of(name)}\b", source) or re.search(rf"\b{name}\b", source.split('"""')[-1]):
        raise refused(f"its class would be called {class_of(name)}, as something that it uses", another)


def package(kind: str, name: str) -> dict[str, str]:
    """The files of a new package, by their paths in it.

    Args:
        kind: of `KINDS`.
        name: of the package, of the option and, in another spelling, of the class.
    """
    group, _, words = KINDS[kind]
    cls = class_of(name)
    text = {file: _named((_TEMPLATES / kind / file).read_text(), kind, name) for file in _FILES}
    title = text["option.yaml"].replace("# @package _global_\n", "").splitlines()[0].partition(": ")[2]
    fill = {"name": name, "cls": cls, "group": group, "choice": KINDS[kind].choice(name), "words": words.format(name)}
    return {
        "README.md": _README.format(title=f"{title[0].upper()}{title[1:]}.", **fill),
        "pyproject.toml": _PROJECT.format(name=name, project=name.replace("_", "-")),
        f"{name}/__init__.py": text["piece.py"],
        f"conf/{group}/{name}.yaml": text["option.yaml"],
        f"tests/test_{name}.py": text["trial.py"],
    }


_FILES = ("piece.py", "option.yaml", "trial.py")


def _named(text: str, kind: str, name: str) -> str:
    """A template under its own names; in the test the package's import stands behind those of rlgan."""
    text = text.replace(f"rlgan.templates.{kind}.piece", name)
    return re.sub(r"\bMine\b", class_of(name), re.sub(r"\bmy_name\b", name, text))


def _write(folder: Path, files: dict[str, str]) -> None:
    """All of them or none."""
    made = Path(tempfile.mkdtemp(prefix=".rlgan-new-", dir=folder.parent))
    try:
        for path, text in files.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text)
        made.chmod(0o777 & ~_umask())
        folder.mkdir()
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
