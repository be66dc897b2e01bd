"""`rlgan export`: write what a run has learnt into a folder for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlgan.runs.commands.words import step_of_file
from rlgan.runs.config.trust import any_trusted, look_here
from rlgan.task.errors import ConfigError
from rlgan.task.suggest import nearest

HELP = """\
rlgan export: write what a run has learnt into a folder for others. Needs pip install "rlgan[export]".

Usage: rlgan export RUN to=DIR [key=value ...]   RUN is a run's folder, or `latest`

  to=DIR             a new or empty folder
  checkpoint=best    which checkpoint: best (the default), last, or a step such as 4000
  formats=[safetensors,onnx,torch]   safetensors: the weights, for rlgan; onnx, torch (.pt2): the networks as programs
  trust=[my_agent]   whose classes the run may name besides those of rlgan, torch and gymnasium

The folder has README.md, a model card for the Hugging Face Hub, and config.yaml. Each program was compared with the
network that it was made of. `rlgan.load("DIR")` in Python loads it, `init_from=DIR` begins a new run at its weights.
"""

_KEYS = ("to", "checkpoint", "formats")


def run(arguments: Sequence[str]) -> int:
    """Export a run as `export RUN to=DIR ...` says; returns the exit code."""
    look_here(any_trusted())
    settings = [word for word in arguments if word.startswith(tuple(f"{key}=" for key in _KEYS))]
    asked = {key: value for key, _, value in (word.partition("=") for word in settings)}
    runs = [word for word in arguments if word not in settings]
    for word in runs:
        key, equals, value = word.partition("=")
        if equals and "/" not in key and not Path(word).is_dir():
            raise ConfigError(f"{key} = {value}: there is no such key; {nearest(key, _KEYS, 'there are')}")
    if len(runs) != 1:
        what = f"{' '.join(runs)}: one run at a time" if runs else "export: name a run's folder, or latest"
        raise ConfigError(f"{what}; for example rlgan export latest to=mine")
    if not asked.get("to"):
        raise ConfigError("to: is missing; name a new folder, for example to=mine")
    from rlgan.runs.record.directory import find_run, short_path
    from rlgan.runs.share.export import FORMATS, export_run

    wanted = asked.get("formats", ",".join(FORMATS)).strip("[] ")
    formats = [word.strip(" '\"") for word in wanted.split(",") if word.strip()]
    to = export_run(find_run(runs[0]), Path(asked["to"]), step_of_file(asked.get("checkpoint", "best")), formats)
    for file in sorted(to.iterdir()):
        print(f"{short_path(file)}  {file.stat().st_size:,} bytes")
    return 0
