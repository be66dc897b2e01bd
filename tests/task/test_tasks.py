"""Both tasks from the command line: reproducible, compiled as eager, every option trains, one YAML serves both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlgan.gan.wgan import WGAN
from rlgan.rl.trainer import Trainer
from rlgan.task.seeding import Generators
from rlgan.task.task import Task
from tests.small import COMPILED, OTHER, TASKS, build, checkpoint, differences, metrics, rlgan, status, summary, train


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs land in a folder of the test's own. Pictures, a second each, have tests of their own."""
    monkeypatch.chdir(tmp_path)
    for kind in (WGAN, Trainer):
        monkeypatch.setattr(kind, "pictures", lambda self: {})


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_run_and_another_does_not(task: str) -> None:
    first, second = (train(*TASKS[task], "seed=1", f"run_dir={name}") for name in ("first", "second"))
    assert summary(first) == summary(second) and metrics(first) == metrics(second)
    step = summary(first)["step"]
    assert differences(checkpoint(first, step), checkpoint(second, step)) == []
    other = train(*TASKS[task], "seed=2", "run_dir=other")
    assert summary(other).keys() == summary(first).keys()
    changed = {tag for tag, value in summary(other).items() if value != summary(first)[tag]}
    assert {"critic/loss", f"{OTHER[task]}/loss", "critic/grad_norm"} <= changed


def test_the_tags_of_both_tasks() -> None:
    length = {"wgan": "steps=5", "ddpg": "steps=205"}  # an episode and more
    found = {task: set(summary(train(*TASKS[task], length[task], f"run_dir={task}"))) for task in TASKS}
    common = {"step", "critic/loss", "critic/grad_norm", "progress/critic_updates"}
    for task, tags in found.items():
        methods = {tag for tag in tags if tag.startswith("optim/")}
        tags -= methods
        every = {"update_norm", "effective_momentum", "effective_lr", "effective_lr_p10", "effective_lr_p90"}
        clipped = {"optim/critic/projected_fraction"} if task == "wgan" else set()
        assert methods == clipped | {f"optim/{player}/{tag}" for player in ("critic", OTHER[task]) for tag in every}
    assert found["wgan"] == common | {
        "generator/loss", "generator/grad_norm", "wasserstein/dual", "wasserstein/primal", "critic/lipschitz",
        "critic/lipschitz_upper_bound", "wasserstein/dual_eval", "wasserstein/dual_estimate",
        "wasserstein/dual_lower_bound", "wasserstein/dual_error", "modes/covered", "modes/high_quality",
        "modes/smallest_share", "modes/smallest_spread", "modes/reverse_kl", "progress/generator_updates",
    }  # fmt: skip
    assert found["ddpg"] == common | {
        "actor/loss", "actor/grad_norm", "critic/q", "critic/q_bias", "exploration/sigma", "return/train",
        "return/eval", "return/eval_std", "return/eval_iqm", "return/eval_low", "return/eval_high",
        "return/eval_length", "progress/environment_steps", "progress/actor_updates", "actor/saturation",
        "actor/preactivation", "actor/stuck", "critic/target_scale",
    }  # fmt: skip


def batches(task: Task, moves: int) -> list[list[Any]]:
    """Minibatches for so many moves, the same for every task of the same sizes."""
    generators = Generators(5)
    if isinstance(task, WGAN):
        return [[task.batch(generators) for _ in range(task.update.batches)] for _ in range(moves)]
    assert isinstance(task, Trainer)
    replay, made = task.replay, []
    for _ in range(moves):
        rows = torch.randn(32, replay.width, generator=generators.torch("rows"), dtype=torch.float64)
        terminated = -task.envs.obs_dim - 1
        rows[:, terminated] = (rows[:, terminated] > 1).double()
        made.append([replay.split(rows.to(task.settings.dtype))] * task.update.batches)
    return made


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        ("wgan", "float32", 1e-5),
        ("ddpg", "float64", 1e-12),
        pytest.param("wgan", "float64", 1e-12, marks=pytest.mark.slow),
        pytest.param("ddpg", "float32", 1e-5, marks=pytest.mark.slow),
    ],
)
def test_compiled_and_eager_agree_after_fifty_updates(name: str, precision: str, tolerance: float) -> None:
    ends, start = [], {}
    for mode in ("false", "true"):
        task = build(*TASKS[name], *COMPILED[name], f"precision={precision}", f"compile={mode}")
        assert isinstance(task, WGAN | Trainer) and task.compiled is (mode == "true")
        players = task.update.players
        start = {player: p.vector.theta.clone() for player, p in players.items()}
        for move in batches(task, 50):
            task.update(move)
        ends.append({player: p.vector.theta.clone() for player, p in players.items()})
        task.close()
    eager, compiled = ends
    for player in eager:
        assert eager[player].dtype == getattr(torch, precision)
        assert (eager[player] - start[player]).norm() > 0.01 * start[player].norm()
        assert (compiled[player] - eager[player]).norm() <= tolerance * eager[player].norm()


MINE = """
_target_: rlgan.optim.heavy_ball
lr: {lr}
rho: 0.5
"""


@pytest.mark.parametrize("task", TASKS)
def test_one_yaml_of_a_method_trains_both_tasks(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "configurations"
    (folder / "optimizer").mkdir(parents=True)
    monkeypatch.setenv("RLGAN_CONF", str(folder))
    places = [f"{player}.optimizer" for player in ("critic", OTHER[task])]
    mine = [f"optimizer@{place}=mine" for place in places]

    found = []
    for lr in (1e-3, 2e-3):
        (folder / "optimizer/mine.yaml").write_text(MINE.format(lr=lr))
        found.append(summary(train(*TASKS[task], *mine, f"run_dir=lr_{lr}")))
        ours = [f"optimizer@{place}=heavy_ball" for place in places]
        values = [item for place in places for item in (f"{place}.lr={lr}", f"{place}.rho=0.5")]
        # What the YAML says is what is trained with, for both players.
        assert found[-1] == summary(train(*TASKS[task], *ours, *values, f"run_dir=ours_{lr}"))
    assert found[0]["critic/loss"] != found[1]["critic/loss"]


METHOD = """
from dataclasses import dataclass
from rlgan.optim import Descent, Identity

@dataclass(frozen=True)
class Signs(Identity):
    def solve(self, m, state, s):
        return m.sign()

def sign_descent(lr: float = 1e-3) -> Descent:
    return Descent(lr, metric=Signs())
"""


@pytest.mark.parametrize("task", TASKS)
def test_a_method_of_ones_own_is_one_file_and_one_yaml(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf/optimizer").mkdir(parents=True)
    (tmp_path / "conf/optimizer/signs.yaml").write_text(f"_target_: my_{task}.sign_descent\nlr: 1e-3\n")
    (tmp_path / f"my_{task}.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = train(*TASKS[task], "optimizer@critic.optimizer=signs", "steps=70", "run_dir=run")
    theta = checkpoint(run, 70)["task"]["players"]["critic"]["theta"]
    start = build(*TASKS[task])
    assert isinstance(start, WGAN | Trainer)
    if task == "ddpg":
        # Ten updates: every parameter has moved by an even number of steps of 1e-3, at most by ten.
        moved = (theta - start.critic.vector.theta) / 1e-3
        assert (moved - moved.round()).abs().max() < 1e-2 and moved.abs().max() <= 10.01
        assert torch.equal(moved[moved.abs() > 9.5].abs().round(), torch.full_like(moved[moved.abs() > 9.5], 10.0))
    assert not torch.equal(theta, start.critic.vector.theta)
    start.close()


GAMES = {"simultaneous": ("game=simultaneous",), "alternating, k = 2": ("game=alternating", "game.k=2")}


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("task", TASKS)
def test_every_game_trains_both_tasks(task: str, game: str) -> None:
    run = train(*TASKS[task], *GAMES[game], "run_dir=run")
    step = summary(run)["step"]
    players = checkpoint(run, step)["task"]["players"]
    moves = 40 if task == "wgan" else 60
    k = 1 if game == "simultaneous" else 2
    # The generator's updates are the unit of a WGAN's steps; an environment step buys one of the critic's.
    assert players[OTHER[task]]["steps"] == (moves if task == "wgan" else moves // k)
    assert players["critic"]["steps"] == (moves * k if task == "wgan" else moves)


OPTIONS: dict[str, tuple[str, ...]] = {
    **{
        f"exploration={kind}": ("ddpg", "env.num_envs=2", "precision=float64")
        for kind in ("none", "gaussian", "ornstein_uhlenbeck", "parameter")
    },
    **{f"env={name}": ("ddpg",) for name in ("mountain_car", "hopper", "inverted_pendulum", "half_cheetah")},
    **{f"lipschitz={kind}": ("wgan", "precision=float64") for kind in ("clip", "gradient_penalty", "none")},
    **{f"data={name}": ("wgan", "steps=12") for name in ("ring", "grid", "swiss_roll")},
    "optimizer@critic.optimizer=heavy_ball": ("wgan",),  # test_methods has all of them
    "optimizer@actor.optimizer=adam": ("ddpg",),
    "averaging@critic.averaging=none": ("wgan",),
    "averaging@generator.averaging=none": ("wgan",),
    "averaging@actor.averaging=run_ema": ("ddpg",),
    "projection@actor.projection=box": ("ddpg",),
    "noise@actor.noise=gaussian": ("ddpg",),
    "schedule@critic.schedule=linear": ("ddpg",),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_trains(option: str) -> None:
    task, *rest = OPTIONS[option]
    steps = [] if any(item.startswith("steps=") for item in rest) else [f"steps={15 if task == 'wgan' else 70}"]
    run = train(
        *TASKS[task], *steps, *rest, option, "eval_episodes=1" if task == "ddpg" else "latent_dim=3", "run_dir=r"
    )
    assert status(run)["state"] == "finished"
    assert all(np.isfinite(value) for line in metrics(run) for value in line.values())


@pytest.mark.parametrize("pair", ["mlp", "dcgan"])
def test_digits_train(pair: str) -> None:
    words = [item for item in TASKS["wgan"] if "hidden" not in item]
    dcgan = ("network@generator.network=dcgan", "network@critic.network=dcgan_layer")
    sizes = (*dcgan, "generator.network.width=4", "critic.network.width=4") if pair == "dcgan" else ()
    run = train(*words, "data=digits", *sizes, "steps=6", "run_dir=r")
    assert {"digits/confident", "digits/classes"} <= summary(run).keys()


class Broken(gymnasium.Env):
    """An environment whose reward or observation is not a number from its `after`-th step on."""

    def __init__(self, what: str = "reward", after: int = 90, length: int = 40) -> None:
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.what, self.after, self.length = what, after, length
        self.time = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        observation, reward = np.full(2, np.sin(self.time), np.float32), float(action[0])
        if self.time > self.after:
            observation = np.full(2, np.nan, np.float32) if self.what == "observation" else observation
            reward = float("nan") if self.what == "reward" else reward
        return observation, reward, False, self.time % self.length == 0, {}


if "Broken-v0" not in gymnasium.registry:
    gymnasium.register("Broken-v0", entry_point=Broken)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_an_environment_that_gives_nan_stops_the_run_and_the_last_checkpoint_is_good(what: str) -> None:
    words = (*TASKS["ddpg"], "env.id=Broken-v0", f"env.kwargs.what={what}", "checkpoint_every=40", "run_dir=run")
    ended = rlgan(*words)
    run = Path("run")
    assert ended.code == 1
    assert f"{what} of environment 0 (Broken-v0) is nan" in ended.err and "Traceback" not in ended.err
    assert "last good checkpoint: run/checkpoints/step_000000080.pt" in ended.err
    found = status(run)
    assert (found["state"], found["error"], found["step"]) == ("failed", "Diverged", 90)
    assert what in found["reason"] and "is nan" in found["reason"]
    assert not (run / "summary.json").exists()
    state = checkpoint(run, 80)["task"]
    assert all(player["theta"].isfinite().all() for player in state["players"].values())
    assert state["replay"]["rows"].isfinite().all()
    assert rlgan("evaluate", "run", "env.kwargs.after=1000").code == 0
    # With the fault mended the run goes on from there; the environment is another one and starts anew.
    ended = rlgan("resume=run", "env.kwargs.after=1000")
    assert ended.code == 0 and "resuming at step 80" in ended.err, ended.err
    assert "'after': 1000, " in ended.err and "its episodes restart" in ended.err
    assert status(run)["state"] == "finished"


@pytest.mark.parametrize("task", TASKS)
def test_a_step_that_explodes_is_not_taken(task: str) -> None:
    run = train(*TASKS[task], "precision=float32", "run_dir=run")
    step = summary(run)["step"]
    lr = f"{OTHER[task] if task == 'wgan' else 'critic'}.optimizer.lr"
    ended = rlgan("resume=run", f"steps={2 * step}", f"{lr}=1e30")
    assert ended.code == 1
    assert f"stopped at step {step + 1}: " in ended.err and "lr" in ended.err and "Traceback" not in ended.err
    found = status(run)
    assert (found["state"], found["error"]) == ("failed", "Diverged") and "largest parameter" in found["reason"]
    assert len(list((run / "checkpoints").glob("*.pt"))) == 1
    state = checkpoint(run, step)["task"]
    assert all(player["theta"].isfinite().all() for player in state["players"].values())
    ended = rlgan("resume=run", f"{lr}=1e-4")
    assert ended.code == 0 and f"resuming at step {step}" in ended.err, ended.err
    assert summary(run)["step"] == 2 * step
