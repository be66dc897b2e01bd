"""Our launchers and sweepers under names that Hydra takes for those of plugins."""

from __future__ import annotations

from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from rlgan.runs.sweep.grid import Grid, cores_over
from rlgan.runs.sweep.on_ray import Ray
from rlgan.runs.sweep.search import Search

OURS = ("grid", "optuna")
"""Options of hydra/sweeper."""


def register() -> None:
    """Let Hydra find them: it makes none whose `_target_` is not below `hydra_plugins`, where no file has to be."""
    Plugins.instance().class_name_to_class |= {
        f"hydra_plugins.rlgan.{kind.__name__}": kind for kind in (Grid, Search, Ray)
    }
    OmegaConf.register_new_resolver("cores_over", cores_over, replace=True)
