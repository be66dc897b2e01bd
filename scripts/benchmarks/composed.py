"""rlgan's own tasks, as the command line would build them."""

from __future__ import annotations

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlgan.runs.config.build import build_settings, build_task, plain
from rlgan.runs.config.sources import ROOT
from rlgan.runs.options import conf_directory
from rlgan.task.task import Task


def task(*overrides: str) -> Task:
    """The task that `rlgan ...` would train."""
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        config = compose(ROOT, overrides=list(overrides))
    OmegaConf.set_struct(config, False)
    values = plain(config)
    return build_task(values, build_settings(values))
