"""Sizes of a run that cannot be, and those that train nothing."""

CURVATURE_SAMPLES = 1024
"""Transitions on which the loss surfaces are measured."""


def check(
    batch_size: int, capacity: int, learning_starts: int, updates_per_step: float, eval_episodes: int, obs_clip: float
) -> None:
    """Raise ValueError, `name = value: what is wrong; remedy`, for an impossible size or ratio of a `Trainer`."""
    for name, value, example in (("batch_size", batch_size, 128), ("eval_episodes", eval_episodes, 20)):
        if value < 1:
            raise ValueError(f"{name} = {value}: must be at least 1, for example {example}")
    if batch_size > capacity:
        raise ValueError(f"batch_size = {batch_size}: larger than the replay (capacity {capacity}); make it smaller")
    if learning_starts < 0:
        raise ValueError(f"learning_starts = {learning_starts}: must be at least 0, for example 1000")
    for name, bound, usual in (("updates_per_step", updates_per_step, 1.0), ("obs_clip", obs_clip, 5.0)):
        if not bound > 0:
            raise ValueError(f"{name} = {bound}: must be positive, for example {usual}")


def idle(steps: int, starts: int, updates_per_step: float, move: int) -> list[str]:
    """A note where a run of so many steps comes to no update.

    Args:
        steps: of the run.
        starts: steps before the first update can be.
        updates_per_step: critic updates that each further step buys.
        move: critic updates of one move of the players.
    """
    if (steps - starts) * updates_per_step >= move - 1e-9:
        return []
    return [
        f"nothing is trained: updates begin after {starts:,} random steps, {updates_per_step:g} a step, and the run "
        f"ends at steps={steps}; a smaller learning_starts=, or more steps="
    ]
