"""An evaluation episode as a film."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from torch import nn

from rlgan.nets.layers import in_evaluation_mode
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.rl.stage import play
from rlgan.task.task import Video

FRAMES_PER_SECOND = 30.0
"""Of an environment that does not say how fast it should be shown."""


def film(
    actor: nn.Module,
    environment: Environment,
    seed: int = 0,
    max_steps: int = 10_000,
    lender: VectorEnvironment | None = None,
) -> Video:
    """One deterministic episode, its first frame drawn at once and the others as they are asked for.

    Args:
        actor: obs (B, obs_dim) -> action (B, action_dim) in [-1, 1].
        environment: which environment.
        seed: of its start state.
        max_steps: length at which an episode without a time limit is cut.
        lender: the environments of training, of which one is borrowed where no other can be made.

    Raises:
        ValueError: the environment draws no pictures (it has no render mode `rgb_array`), or cannot here.
    """
    kwargs = {**environment.kwargs, "render_mode": "rgb_array"}
    drawing = environment.kwargs.get("render_mode") == "rgb_array"
    try:
        probe = environment.make_one()
    except Exception as error:
        if not drawing:
            raise ValueError(
                f"video = true: no second {environment.id} can be made for it ({type(error).__name__}: {error}); let "
                "the first one draw, by env.kwargs.render_mode=rgb_array"
            ) from error
        metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}
    else:
        metadata = probe.metadata if isinstance(probe.metadata, dict) else {}
        probe.close()
    modes, fps = (metadata.get(key) for key in ("render_modes", "render_fps"))
    if "rgb_array" not in (modes or ()):
        raise ValueError(
            f"video = true: {environment.id} draws no pictures (its render modes are {modes or 'none'}); it needs "
            "rgb_array; leave video out"
        )
    drawn = environment if drawing else dataclasses.replace(environment, kwargs=kwargs, vectorization="sync")
    if drawn is environment and environment.batched(1) is not None:
        drawn = dataclasses.replace(environment, vectorization="sync")
    frames = _frames(actor, drawn, seed, max_steps, lender)
    try:
        first = next(frames)
    except Exception as error:
        raise ValueError(
            f"video = true: {environment.id} cannot be drawn here ({type(error).__name__}: {error}); pygame comes with "
            'pip install "rlgan[video]"; without a display MuJoCo wants MUJOCO_GL=egl or osmesa, and pygame '
            "SDL_VIDEODRIVER=dummy, in the environment"
        ) from error

    def all_frames() -> Iterator[np.ndarray]:
        yield first
        yield from frames

    return Video(all_frames(), float(fps or FRAMES_PER_SECOND))


def _frames(
    actor: nn.Module, environment: Environment, seed: int, max_steps: int, lender: VectorEnvironment | None
) -> Iterator[np.ndarray]:
    moments = play(actor, environment, 1, seed, max_steps, lender)
    while True:
        # The frames are asked for one by one, and between them the actor is left as it was.
        with in_evaluation_mode(actor):
            moment = next(moments, None)
        if moment is None:
            return
        yield _frame(moment.envs[0])


def _frame(env: gymnasium.Env) -> np.ndarray:
    frame = np.array(env.render())  # a copy: some draw into the same picture every time
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"its picture is {frame.dtype} {frame.shape}, not uint8 (height, width, 3)")
    return frame
