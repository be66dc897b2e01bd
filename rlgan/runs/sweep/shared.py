"""Composing many configurations that differ in values: what their options give is composed once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from rlgan.runs.config.sources import register

SUBDIR = "hydra.sweep.subdir"
_KEPT = 16
# Hydra 1.4 has no such function, and other rules of composing: there every job is composed by itself.
_dirname: Any = getattr(config_loader_impl, "get_overrides_dirname", None)

# In a worker every job comes with a loader of its own, read from what was sent.
_composed: dict[tuple[Any, ...], DictConfig] = {}


class Shared(ConfigLoaderImpl):
    """Hydra's loader, which composes jobs of the same options once in a process.

    Words that set values, `++key=value`, are applied after all options are: so Hydra does it, too.

    Args:
        loader: Hydra's own.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Compose the configuration of a job."""
        register()  # in a worker nobody has
        if _dirname is None:
            return super().load_sweep_config(master_config, list(sweep_overrides))
        values = [word for word in sweep_overrides if word.startswith(("++", f"{SUBDIR}="))]
        chosen = [word for word in sweep_overrides if word not in values]
        of_all = list(master_config.hydra.overrides.hydra)
        key = (str(self.get_search_path()), master_config.hydra.job.config_name, *of_all, *chosen)
        if key not in _composed:
            while len(_composed) >= _KEPT:
                del _composed[next(iter(_composed))]
            _composed[key] = super().load_sweep_config(master_config, chosen)
        config = copy.deepcopy(_composed[key])
        every = OverridesParser.create().parse_overrides(list(sweep_overrides))
        for override in every:
            if override.input_line in values:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=True)
        of_task = [override for override in every if not override.is_hydra_override()]
        form = config.hydra.job.config.override_dirname
        with open_dict(config.hydra):
            config.hydra.overrides.task = [override.input_line for override in of_task]
            config.hydra.overrides.hydra = [*of_all, *(word for word in sweep_overrides if word.startswith("hydra"))]
            config.hydra.job.override_dirname = _dirname(
                of_task, kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
            )
        return config
