"""`rlgan train`: a new run, a sweep, or an earlier run that goes on."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlgan.runs.commands import COMMANDS
from rlgan.runs.commands.words import changes_of, step_of_file
from rlgan.runs.config.trust import any_trusted, look_here
from rlgan.runs.ranks.launch import launched
from rlgan.runs.terminal import QUIET, complain
from rlgan.task.errors import ConfigError
from rlgan.task.settings import SETTINGS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from rlgan.runs.prepare import Outcome

HELP = """\
rlgan train: train a task from a configuration of small options, and keep everything of the run in one folder.

Usage: rlgan train [key=value ...]          the word `train` may be left out

  rlgan train data=digits seed=1            choose an option, set a value
  rlgan train -m seed=1,2,3                 one run for every combination of values; hydra/launcher=joblib in parallel
  rlgan train -m seed=1,2,3 run_dir=SWEEP   go on with what of a sweep is not finished
  rlgan train -m experiment=search/ddpg     search for the best values
  rlgan experiment=lecture/...              variants of a run, one picture of them, and rules that are decided
  rlgan train resume=RUN steps=20000        go on with a run; resume=latest takes the newest
  rlgan train resume=RUN from=1000          go back to the checkpoint of this step; from=0 starts anew
  rlgan train resume=RUN trust=[my_agent]   whose classes the run may name besides those of rlgan, torch, gymnasium

{settings}

{groups}

{switches}
"""

# A run keeps everything in its own directory: Hydra's would stand empty beside it.
REFUSED = {
    "hydra.run.dir": "a run's directory is chosen by run_dir={value}",
    "hydra.sweep.dir": "every run has a directory of its own below outputs/; name them by name={value}",
    "hydra.sweep.subdir": "every run has a directory of its own below outputs/; leave it out",
    "hydra.output_subdir": "a run keeps its configuration as config.yaml in its own directory; leave it out",
    "hydra.job.chdir": "a run stays in the folder where it was started; leave it out, or choose run_dir=",
}


def run(arguments: Sequence[str]) -> int:
    """Train, or resume, as `train [key=value ...]` says; returns the exit code."""
    from hydra._internal.utils import get_args_parser

    from rlgan.runs.answers.meant import no_pair
    from rlgan.runs.config.words import parse, quoted, text_of
    from rlgan.runs.options import options

    # Hydra's options may stand anywhere among the words: `seed=1,2 -m task=ddpg`.
    words = [quoted(item) for item in arguments]
    known, unknown = get_args_parser().parse_known_intermixed_args(words)
    typed = list(known.overrides)
    if odd := [*unknown, *(word for word in typed if "=" not in word and word[:1] != "~")]:
        raise ConfigError(no_pair(words, words.index(odd[0]), list(COMMANDS), [*SETTINGS, *options()]))
    left, switches = Counter(typed), []
    for word in words:
        if left[word]:
            left[word] -= 1
        else:
            switches.append(word)
    if "hydra.mode=MULTIRUN" in typed:
        typed.remove("hydra.mode=MULTIRUN")
        switches, known.multirun = [*switches, "-m"], True
    for item in typed:
        key, _, value = item.lstrip("+~").partition("=")
        if key in REFUSED:
            raise ConfigError(f"{key} = {value}: {REFUSED[key].format(value=value)}")
    resumed = [item for item in typed if item.lstrip("+").startswith("resume=")]
    if resumed and (where := resumed[-1].partition("=")[2]) != "null":
        where = text_of(resumed[-1])
        if known.multirun or (parse(resumed[-1]).is_sweep_override() and not Path(where).is_dir()):
            raise ConfigError(f"resume = {where}: cannot be combined with -m; resume the runs one by one")
        if switches or not where:
            what = f"cannot be combined with {switches[0]}; leave it out" if switches else "name a run's directory"
            raise ConfigError(f"resume = {where}: {what}")
        return go_on(where, [item for item in typed if item not in resumed]).code
    # A class of the user's own, named in _target_, is found from where they stand.
    look_here(True)
    typed, rewritten = as_meant(typed, known.multirun)
    if known.multirun:
        if launched() is not None:
            raise ConfigError("-m: a sweep makes its runs by itself; leave torchrun out, or start one run by torchrun")
        from rlgan.runs.sweep.start import sweep

        return sweep(rewritten, switches, typed)
    return compose([*rewritten, *switches], typed)


def as_meant(typed: list[str], many: bool = False) -> tuple[list[str], list[str]]:
    """The words of a new run as typed, and as Hydra takes them.

    Args:
        typed: `key=value` each.
        many: for a sweep.

    Raises:
        ConfigError: one cannot be read, or is no setting; with the word that was meant.
    """
    from rlgan.runs.config.overrides import forced, refuse_setting_for_option, refuse_what_names_no_option, whole_words
    from rlgan.runs.config.sources import register
    from rlgan.runs.config.words import parse
    from rlgan.runs.options import options

    groups = options()
    register()
    typed = typed if many else whole_words(typed)
    rewritten = [forced(item, groups) if "=" in item else item for item in typed]
    for item in typed:
        refuse_what_names_no_option(parse(item), groups)
        refuse_setting_for_option(item, typed, groups)
    return typed, rewritten


def go_on(where: str, rest: list[str]) -> Outcome:
    """Go on with a run.

    Args:
        where: the run's folder, or `latest`.
        rest: what changes, and `from=STEP`.

    Raises:
        ConfigError, RunError: it cannot go on.
    """
    from rlgan.runs.record.directory import find_run, read_config

    look_here(any_trusted())
    path = find_run(where)
    if launched() is not None:
        from rlgan.runs.ranks.agreement import here

        path = Path(here().every(str(path))[0])  # which run is the latest is for rank 0 to say
    if (path / "sweep.json").is_file():
        raise ConfigError(
            f"resume = {where}: is a sweep; give its command again with run_dir={where}, or resume one run"
        )
    read_config(path)
    start = [item for item in rest if item.startswith("from=")]
    step = _step(start[-1].partition("=")[2]) if start else None
    values = changes_of(path, [item for item in rest if item not in start])
    from rlgan.runs.session import resume

    return resume(path, values, rest, step)


def _step(word: str) -> int:
    step = step_of_file(word)
    if not step.isdecimal() or len(step) > 18:
        raise ConfigError(f"from = {word}: name a checkpoint's step, for example from=1000, or 0 to start anew")
    return int(step)


def compose(arguments: list[str], typed: list[str]) -> int:
    """Compose and run by Hydra, with its own error pages replaced by one line."""
    from rlgan.runs.config.overrides import explain
    from rlgan.runs.config.sources import register

    outcomes: list[Any] = []

    def job(config: DictConfig) -> None:
        from rlgan.runs.session import job

        outcomes.append(job(config))

    register()
    try:
        by_hydra(job, arguments, typed)
    except Exception as error:
        # The job lets no Exception out: this is Hydra's own, from composing.
        return complain(error, explain(error, typed))
    return max((int(outcome.code) for outcome in outcomes), default=0)


def by_hydra(job: Callable[[DictConfig], Any], arguments: list[str], typed: list[str]) -> None:
    """Let Hydra compose what the words say and call `job` with it; it reads them from sys.argv.

    Raises:
        Exception: of Hydra's, from composing or from a launcher.
    """
    import hydra

    from rlgan.runs.config.sources import ROOT
    from rlgan.runs.config.words import TYPED
    from rlgan.runs.options import conf_directory

    ours = {TYPED: json.dumps(typed)}
    if os.environ.get("HYDRA_FULL_ERROR") != "1":
        ours |= {"HYDRA_FULL_ERROR": "1", QUIET: "1"}
    former = {key: os.environ[key] for key in ours if key in os.environ}
    argv = sys.argv
    sys.argv = [argv[0], *arguments]
    os.environ |= ours
    try:
        hydra.main(config_path=str(conf_directory()), config_name=ROOT, version_base="1.3")(job)()
    finally:
        sys.argv = argv
        for key in ours:
            os.environ.pop(key, None)
        os.environ |= former
