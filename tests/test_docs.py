"""Every page is true: its commands run, its code runs, its links lead somewhere, its tables are current.

A command is run in this process and in a folder of its page, with the words of `SHORT` in place of its own or beside
them, so that it takes a moment; RUN is a small run that is trained once. What no rule of `RULES` knows is a failure.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from matplotlib import image
from omegaconf import OmegaConf

from rlgan.runs.commands.new import KINDS, package
from scripts.benchmark import parser
from scripts.options import PAGE as OPTIONS
from scripts.options import with_table
from tests.small import rlgan

ROOT = Path(__file__).parents[1]
PAGES = [
    Path("README.md"),
    Path("conf/README.md"),
    Path("scripts/README.md"),
    *(Path(f"rlgan/{name}/README.md") for name in ("erm", "face", "gan", "nets", "optim", "rl", "runs", "task")),
    *(Path(f"rlgan/runs/{name}/README.md") for name in ("compare", "logging", "ranks", "study", "sweep")),
]
LANGUAGES = {"sh", "python", "yaml", "toml", "text"}

#: What makes a run short, by the kind of its task; a value stands for the one that the page has.
QUIET = {"progress": "false", "device": "cpu", "compile": "false", "logger": "[]"}
SHORT: dict[str, dict[str, str]] = {
    "wgan": {**QUIET, "steps": "2", "batch_size": "16"},
    "ddpg": {
        **QUIET,
        "steps": "40",
        "batch_size": "16",
        "learning_starts": "30",
        "capacity": "1000",
        "eval_episodes": "1",
        "env.max_episode_steps": "40",
    },
    "erm": {**QUIET, "steps": "2", "batch_size": "16", "network.hidden": "[8]"},
    "both": {**QUIET, "steps": "2", "batch_size": "16"},
    "images": {"critic.network.width": "4", "generator.network.width": "4"},
}
FEWER = {"seeds": "2", "seed": "1,2", "episodes": "1", "n": "100", "from": "2", "hydra.sweeper.n_trials": "2"}
"""Instead of a page's value, where it has one other than 0."""
SMALL = {
    "wgan": ("critic.network.hidden=[8]", "generator.network.hidden=[8]"),
    "ddpg": ("task=ddpg", "critic.network.hidden=[8]", "actor.network.hidden=[8]"),
}


class Block(NamedTuple):
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str


class Command(NamedTuple):
    """One line of a shell block, without its comment, or words in backticks that are a command."""

    page: Path
    line: int
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = (ROOT / page).read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```\w*\n.*?^```$", "", (ROOT / page).read_text(), flags=re.M | re.S)


EVERY = [block for page in PAGES for block in blocks(page)]
GIVEN = [
    Command(block.page, block.line + number, part)
    for block in EVERY
    if block.language == "sh"
    for number, line in enumerate(block.text.splitlines(), 1)
    for part in re.sub(r"\s+# .*", "", line).split(" && ")
    if part
]
COMMANDS = list({command.text if "RUN" not in command.text else command: command for command in GIVEN}.values())
"""Each once: what stands on two pages is one command, but RUN is another run on each."""
PLAIN = r"`((?:rlgan|python scripts/\w+\.py|pip install|pytest) [^`]+)`"
INLINE = sorted({(page, text) for page in PAGES for text in re.findall(PLAIN, prose(page))})


def named(block: Block) -> str | None:
    """The file that a block says it is, in its first or second line."""
    found = re.search(r"^# ([\w./-]+\.(?:py|yaml|toml))", "\n".join(block.text.splitlines()[:2]), re.M)
    return None if found is None else found[1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """A folder per page with the files that it shows, pictures of one's own, and the newest run below outputs/."""
    made = {}
    for page in PAGES:
        folder = made[page] = tmp_path_factory.mktemp(page.parent.name or "readme")
        for block in blocks(page):
            if name := named(block):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(block.text)
    own = made[Path("rlgan/gan/README.md")]
    (own / "pictures").mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)
    for number, picture in enumerate(pictures):
        image.imsave(own / "pictures" / f"{number}.png", picture)
    np.savez(own / "images.npz", pictures)
    labelled = made[Path("rlgan/erm/README.md")]
    for number, picture in enumerate(pictures):
        (labelled / "pictures" / f"class_{number % 2}").mkdir(parents=True, exist_ok=True)
        image.imsave(labelled / "pictures" / f"class_{number % 2}" / f"{number}.png", picture)
    rows = [",".join([*map(str, row), "ab"[number % 2]]) for number, row in enumerate(pictures[:, 0, 0])]
    (labelled / "points.csv").write_text("\n".join(rows))
    return made


@pytest.fixture(scope="module")
def trained(folders: dict[Path, Path]) -> Callable[[Path], Path]:
    """The run that RUN stands for on a page: an agent's on the pages of agents and of Python, else a WGAN's."""
    runs: dict[Path, Path] = {}

    def run(page: Path) -> Path:
        if page not in runs:
            kind = "ddpg" if page.parent.name in ("face", "rl") else "wgan"
            runs[page] = folders[page] / "outputs" / kind / "run"
            words = [f"{key}={value}" for key, value in SHORT[kind].items()]
            ended = rlgan(*SMALL[kind], *words, f"run_dir={runs[page]}")
            assert ended.code == 0, ended.err
        return runs[page]

    return run


@pytest.fixture
def here(folders: dict[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Stand in a page's folder, with its configurations and modules found as a user's are."""

    def stand(page: Path) -> Path:
        folder = folders[page]
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))
        packages = [str(conf) for conf in folder.glob("*/conf")]
        monkeypatch.setenv("RLGAN_CONF", ":".join(packages))
        return folder

    return stand


def shortened(words: list[str]) -> list[str]:
    """The words of a run with those of `SHORT` in place of their own or beside them."""
    agent = any(word in ("task=ddpg", "agent=noisy_target") or word.startswith("experiment=rl/") for word in words)
    model = {"task=erm", "experiment=search/erm"} & set(words)
    kind = "both" if "task=wgan,ddpg" in words else "ddpg" if agent else "erm" if model else "wgan"
    short = dict(QUIET if "task=newton_root" in words else SHORT[kind])
    if "batch_size=null" in words or any(word.startswith("problem=quadratic") for word in words):
        short.pop("batch_size")
    if kind == "erm" and {"network=conv", "network=linear", "network=fourier"} & set(words):
        short.pop("network.hidden")
    if "network@generator.network=dcgan" in words:
        short |= SHORT["images"] | ({"data.side": "16"} if "data=folder" in words else {})
    if any(word.startswith(("resume=", "evaluate", "plot", "export")) for word in words):
        short = {"progress": "false", "steps": "4"} if any(word.startswith("steps=") for word in words) else {}
    if any(word.startswith("logger=") for word in words):
        short.pop("logger", None)
    kept = []
    for word in words:
        key, _, value = word.partition("=")
        fewer = FEWER.get(key) if value not in ("", "0") and not (key == "seed" and "," not in word) else None
        if key not in short:
            kept.append(word if fewer is None else f"{key}={fewer}")
    return [*kept, *(f"{key}={value}" for key, value in short.items())]


def check_extras(words: list[str]) -> None:
    """`pip install`: what is installed exists, with its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[:2] == ["pip", "install"]
    for word in words[2:]:
        if "[" in word:
            name, extras = re.fullmatch(r"(\.|rlgan)\[([\w,]+)\]", word).groups()  # type: ignore[union-attr]
            assert name in (".", project["name"]) and set(extras.split(",")) <= set(project["optional-dependencies"])
        else:
            assert word in ("-e", "-c", ".", "constraints.txt"), word


def check_benchmark(words: list[str]) -> None:
    """`python scripts/benchmark.py`: the name and the options are known."""
    if words[2:] != ["--help"]:
        parser().parse_args(words[2:])


def check_lectures(words: list[str]) -> None:
    """`python scripts/lectures.py`: the options are known, and the lectures that are named are there."""
    ended = subprocess.run(
        [sys.executable, *words[1:], "--list"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0 and ended.stdout.count("\n") > 1, ended.stderr


def check_options(words: list[str]) -> None:
    """`python scripts/options.py --write` has nothing to write."""
    assert words[2:] == ["--write"] and OPTIONS.read_text() == with_table(OPTIONS.read_text())


def check_there(words: list[str]) -> None:
    """What needs no more than its file or folder."""
    known = {"tensorboard": ["--logdir", "outputs"], "pytest": [], "python3": ["-m", "venv", ".venv"]}
    assert words == ["source", ".venv/bin/activate"] or words[1:] == known[words[0]]


#: How a command that is no run is checked, by how it begins.
RULES: dict[str, Callable[[list[str]], None]] = {
    "pip install ": check_extras,
    "python scripts/benchmark.py ": check_benchmark,
    "python scripts/options.py ": check_options,
    "python scripts/lectures.py": check_lectures,
    "tensorboard ": check_there,
    "pytest": check_there,
    "python3 -m venv ": check_there,
    "source ": check_there,
}


def param(command: Command) -> Any:
    """README's commands at every run of the tests, those of the folders with the slow ones."""
    marks = [] if command.page == Path("README.md") else [pytest.mark.slow]
    return pytest.param(command, id=f"{command.page}:{command.line}:{command.text[:40]}", marks=marks)


@pytest.mark.parametrize("command", list(map(param, COMMANDS)))
def test_every_command_runs(
    command: Command, here: Callable[[Path], Path], trained: Callable[[Path], Path], tmp_path: Path
) -> None:
    words = shlex.split(command.text)
    rule = next((rule for start, rule in RULES.items() if command.text.startswith(start)), None)
    if rule is not None:
        return rule(words)
    assert words[0] == "rlgan", f"{command.text}: no rule for this command"
    folder = here(command.page)
    words = words[1:]
    if words[:1] in (["plot"], ["evaluate"]) or any("RUN" in word or "latest" in word for word in words):
        run = trained(command.page)
        words = [word.replace("RUN", str(run)) for word in words]
    if any(word.startswith("experiment=lecture/") for word in words):
        words += ["--cfg", "job"]  # each is tested by itself
    if "--cfg" not in words:
        words = shortened(words)
    if any(word.startswith("init_from=") for word in words):
        words += SMALL["ddpg"]
    ended = rlgan(*words)
    assert ended.code == 0, ended.err
    assert ended.out and folder.is_dir()
    return None


@pytest.mark.parametrize(("page", "text"), INLINE, ids=lambda value: str(value)[:50])
def test_every_command_in_a_sentence_or_table_can_be_given(page: Path, text: str, here: Callable[[Path], Path]) -> None:
    words = shlex.split(text)
    if words[0] == "pip":
        return check_extras(words)
    if words[0] == "pytest":
        assert words[1] == "-m" and f'"{words[2]}:' in (ROOT / "pyproject.toml").read_text() and not words[3:]
        return None
    if words[0] == "python":
        assert (ROOT / words[1]).is_file()
        if "benchmark" in words[1]:
            check_benchmark(words)
        if "lectures" in words[1]:
            check_lectures(words)
        return None
    if words[1] == "new":
        kind, name = words[2:] or (next(iter(KINDS)), "mine")
        assert package(kind, name)
        return None
    if words[1] in ("evaluate", "export", "plot") or words[1:] == ["--help"]:
        ended = rlgan(*(words[1:2] if words[1] == "--help" else [words[1], "--help"]))
    else:
        here(page)
        ended = rlgan(*words[1:], "--cfg", "job")
    assert ended.code == 0 and ended.out, ended.err
    return None


@pytest.mark.parametrize(
    "block", [block for block in EVERY if block.language == "python"], ids=lambda b: f"{b.page}:{b.line}"
)
def test_python_runs_as_it_stands(block: Block, here: Callable[[Path], Path], trained: Callable[[Path], Path]) -> None:
    here(block.page)
    if '"latest"' in block.text:
        (trained(block.page) / "status.json").touch()
    if name := named(block):
        import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    else:
        torch.manual_seed(0)
        exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "page"})


def test_a_configuration_on_a_page_is_used_by_a_command_there() -> None:
    for block in EVERY:
        if block.language == "yaml":
            name = named(block)
            assert name is not None and OmegaConf.create(block.text)
            given = [c.text for c in GIVEN if c.page == block.page] + [t for p, t in INLINE if p == block.page]
            chosen = rf"[=\[,]{re.escape(Path(name).stem)}\b"
            assert any(re.search(chosen, text) for text in given), f"{name}: no command of {block.page} uses it"


def test_every_block_says_what_it_is() -> None:
    for block in EVERY:
        assert block.language in LANGUAGES, f"{block.page}:{block.line}: {block.language or 'no language'}"
    for page in PAGES:
        # Four spaces would be a block of which no test knows.
        assert not re.search(r"\n\n {4,}\S", prose(page)), page


def test_the_closing_table_of_the_readme_is_the_one_that_comes(trained: Callable[[Path], Path]) -> None:
    shown = next(block.text for block in blocks(Path("README.md")) if "wasserstein/primal" in block.text)
    ended = rlgan("evaluate", str(trained(Path("README.md"))), "checkpoint=last")

    def words(text: str) -> set[str]:
        return {
            " ".join(w for w in line.split() if not re.fullmatch(r"-?[\d.]+(e-?\d+)?", w)) for line in text.splitlines()
        }

    assert words(shown) - {"…"} <= words(ended.out)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = prose(page)
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page.parent / path).resolve() if path else ROOT / page
        assert target.exists() and target.is_relative_to(ROOT), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page}: {link}"


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```\w*\n.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_of_options_is_current() -> None:
    check_options(["python", "scripts/options.py", "--write"])


def test_pages_are_short_and_speak_of_the_project_alone() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    for page in PAGES:
        found = re.search(
            r"/(?:work|home|root|tmp|Users)/|\bdecks?\b|the sl[i]de|left w[i]ng|TODO", (ROOT / page).read_text()
        )
        assert found is None, f"{page}: {found}"


def test_every_picture_is_shown() -> None:
    shown = {link for page in PAGES for link in re.findall(r'src="(?:\.\./)*([^"]+)"', (ROOT / page).read_text())}
    assert {str(file.relative_to(ROOT)) for file in (ROOT / ".pictures").iterdir()} <= shown
