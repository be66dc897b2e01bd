"""A launcher on Ray's public interface: every job is a task."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from rlgan.runs.answers.choices import other_plugin
from rlgan.task.errors import ConfigError

#: Every line of a job once, without colours; nothing is reported to Ray's authors.
_QUIET = {"RAY_DEDUP_LOGS": "0", "RAY_COLOR_PREFIX": "0", "RAY_USAGE_STATS_ENABLED": "0"}


class Ray(Launcher):
    """Runs jobs as tasks of a Ray cluster, or of one that it starts on this machine and ends again.

    The official launcher for this Hydra wants cloudpickle below 3, with which joblib does not work.

    Args:
        address: of a cluster; None starts one.
        num_cpus, num_gpus: of a job, as Ray counts them.
        max_retries: of a job whose worker is lost.
        init: further arguments of `ray.init`.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
        max_retries: int = 0,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        for key, value in _QUIET.items():
            os.environ.setdefault(key, value)
        try:
            import ray
        except ImportError:
            raise ConfigError(other_plugin("hydra/launcher", "ray", ())) from None
        self._ray, self.address = ray, address
        self.needs = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}
        self.init = dict(init or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a launcher."""
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs and wait for all of them; one whose worker is lost has failed, and the others go on."""
        ray, mine = self._ray, not self._ray.is_initialized()
        if mine:
            started = {} if self.address else {"include_dashboard": False, "num_cpus": len(os.sched_getaffinity(0))}
            ray.init(address=self.address, **{"log_to_driver": True, "logging_level": "error", **started, **self.init})
        try:
            work = ray.remote(**self.needs)(run)
            shared = ray.put((self.context, self.task_function, self.config, Singleton.get_state()))
            tasks = [work.remote(shared, list(words), initial_job_idx + k) for k, words in enumerate(job_overrides)]
            return [self._result(task, list(words)) for task, words in zip(tasks, job_overrides, strict=True)]
        finally:
            if mine:
                ray.shutdown()

    def _result(self, task: Any, words: list[str]) -> JobReturn:
        try:
            found = self._ray.get(task)
            assert isinstance(found, JobReturn)
            return found
        except self._ray.exceptions.RayError as error:
            lost = JobReturn(overrides=words, status=JobStatus.FAILED)
            lost.return_value = RuntimeError(" ".join(str(error).split())[:200])
            return lost


def run(shared: tuple[HydraContext, TaskFunction, DictConfig, Any], words: list[str], number: int) -> JobReturn:
    """Run one job in a worker of Ray."""
    context, task_function, config, state = shared
    setup_globals()
    Singleton.set_state(state)
    composed = context.config_loader.load_sweep_config(config, words)
    with open_dict(composed):
        composed.hydra.job.id = f"{OmegaConf.select(composed, 'hydra.job.name')}_{number}"
        composed.hydra.job.num = number
    HydraConfig.instance().set_config(composed)
    done = run_job(
        hydra_context=context,
        task_function=task_function,
        config=composed,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    # A configuration is large, and Ray keeps results in memory until the last one is there.
    done.cfg = done.hydra_cfg = None
    return done
