"""What was typed under another name, or in another place, is answered by words that work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from rlgan.runs.answers.choices import other_plugin
from rlgan.runs.answers.meant import meant, similar
from rlgan.runs.answers.names import ALIASES, CONVERTED, GROUPS, normal
from rlgan.runs.config.build import Command, RunSpec, plain
from rlgan.runs.config.overrides import forced
from rlgan.runs.config.sources import ROOT
from rlgan.runs.config.trust import EVERYONE
from rlgan.runs.options import conf_directory, options
from tests.small import rlgan

#: What is typed last, and words of the answer.
MISTAKES: dict[tuple[str, ...], str] = {
    # names that are there, elsewhere
    ("lr=0.1",): "did you mean critic.optimizer.lr or generator.optimizer.lr? Both: critic.optimizer.lr=0.1 generator",
    ("task=ddpg", "lr=0.1"): "did you mean critic.optimizer.lr or actor.optimizer.lr?",
    ("task=erm", "lr=0.1"): "did you mean optimizer.lr=0.1?",
    ("task=ddpg", "tau=0.01"): "did you mean critic.averaging.tau or actor.averaging.tau?",
    ("task=ddpg", "num_envs=4"): "did you mean env.num_envs=4?",
    ("hidden=64",): "critic.network.hidden=[64] generator.network.hidden=[64]",
    ("critic.lr=0.1",): "PlayerSpec has no such key; did you mean critic.optimizer.lr=0.1?",
    ("optimizer.lr=0.1",): "optimizer.lr = 0.1: there is no such key; did you mean critic.optimizer.lr or generator",
    ("critic.optimiser.lr=0.1",): "did you mean critic.optimizer.lr=0.1?",
    ("optimizer.critic.lr=0.1",): "did you mean critic.optimizer.lr=0.1?",
    # names from elsewhere
    ("task=ddpg", "gamma=0.9"): "did you mean agent.discount=0.9?",
    ("n_critic=5",): "did you mean game.k=5?",
    ("game=simultaneous", "n_critic=5"): "did you mean game=alternating game.k=5?",
    ("game.n_critic=5",): "did you mean game.k=5?",
    ("task=ddpg", "buffer_size=1000"): "did you mean capacity=1000?",
    ("learning_rate=0.1",): "did you mean critic.optimizer.lr or generator.optimizer.lr?",
    ("task=ddpg", "actor_lr=0.1"): "did you mean actor.optimizer.lr=0.1?",
    ("clip=0.01",): "did you mean lipschitz=clip lipschitz.radius=0.01?",
    ("gp_weight=10",): "did you mean lipschitz=gradient_penalty lipschitz.weight=10?",
    ("lipschitz=r1", "lambda=10"): "did you mean lipschitz.weight=10?",
    ("batch=64",): "did you mean batch_size=64?",
    ("task=ddpg", "total_timesteps=1000"): "did you mean steps=1000?",
    ("task=ddpg", "env_id=Pendulum-v1"): "did you mean env.id=Pendulum-v1?",
    ("task=ddpg", "policy_delay=2"): "did you mean game.k=2?",
    ("task=ddpg", "policy_noise=0.1"): "did you mean agent=td3 agent.smoothing=0.1?",
    ("task=ddpg", "polyak=0.995"): "critic.averaging.tau=0.005 actor.averaging.tau=0.005",
    ("momentum=0.9",): "optimizer@critic.optimizer=heavy_ball critic.optimizer.rho=0.9",
    ("optim=adam",): "optimizer@critic.optimizer=adam optimizer@generator.optimizer=adam",
    ("dataset=digits",): "did you mean data=digits?",
    ("task=erm", "epochs=3"): "a run is as long as steps= says, for example steps=2000",
    # of another option, or of another task
    ("lipschitz.weight=10",): "GroupSort has no such key; did you mean lipschitz=gradient_penalty lipschitz.weight=10?",
    ("game.gamma=0.1",): "did you mean game=consensus game.gamma=0.1?",
    ("gamma=0.9",): "task ddpg has such a key; did you mean task=ddpg agent.discount=0.9?",
    ("task=ddpg", "latent_dim=5"): "task wgan has such a key; did you mean task=wgan latent_dim=5?",
    # misspelt, and elsewhere
    ("task=ddpg", "discont=0.9"): "did you mean agent.discount?",
    # options
    ("critic.optimizer=adam",): "did you mean optimizer@critic.optimizer=adam?",
    ("task=ddpg", "optimizer=adam"): "Both: optimizer@critic.optimizer=adam optimizer@actor.optimizer=adam",
    ("optimizer@critic=adam",): "did you mean optimizer@critic.optimizer=adam?",
    ("optimizer@actor.optimizer=adam",): "has no such place; did you mean optimizer@generator.optimizer=adam?",
    ("schedule=cosine",): "did you mean schedule@critic.schedule or schedule@generator.schedule?",
    ("averaging=polyak",): "averaging@critic.averaging=ema averaging@generator.averaging=ema",
    ("optimizer@critic.optimizer=NAdam",): "optimizer@critic.optimizer=torch critic.optimizer.optimizer=NAdam",
    ("loss=wgan-gp",): "did you mean loss=wasserstein lipschitz=gradient_penalty optimizer@critic.optimizer=adam_wgan?",
    ("loss=mse",): "did you mean loss=least_squares?",
    ("task=erm", "loss=mse"): "did you mean loss=squared?",
    ("lipschitz=gp",): "did you mean lipschitz=gradient_penalty?",
    ("lipschitz=SN",): "did you mean lipschitz=spectral_norm?",
    ("task=ddpg", "agent=TD3"): "did you mean agent=td3?",
    ("agent=TD3",): "did you mean task=ddpg agent=td3?",
    ("task=ddpg", "agent=sac"): "is not here; task=ddpg has agent=ddpg, dpg, td3",
    ("task=ddpg", "env=Pendulum-v1"): "did you mean env=pendulum or env.id=Pendulum-v1?",
    ("task=ddpg", "env=MountainCar-v0"): "did you mean env=mountain_car?",
    ("task=ddpg", "env=CartPole-v1"): "CartPole-v1 has discrete actions, and agents here act by numbers",
    ("task=gan",): "did you mean task=wgan?",
    ("task=td3",): "did you mean task=ddpg agent=td3?",
    ("task=dqn",): "agents here act by numbers",
    ("task=ppo",): "is not here; task=ddpg has agent=ddpg, dpg, td3",
    ("critic=mlp",): "critic is no group; did you mean network@critic.network=mlp?",
    ("lecture=04",): "did you mean experiment=lecture/04_momentum?",
    ("experiment=ring_best",): "did you mean experiment=gan/ring_best?",
    (
        "task=wgan-gp",
    ): "did you mean task=wgan loss=wasserstein lipschitz=gradient_penalty optimizer@critic.optimizer=adam_wgan?",
}


def suggested(answer: str) -> list[list[str]]:
    """The commands that an answer proposes, as words: all of `Both: …`, else every one that `or` names."""
    text = answer.partition(": ")[2].rpartition("; ")[2]
    together = re.search(r"(?:Both|All): (.*)", text)
    asked = re.search(r"did you mean (.*?)\?", text) or re.search(r"task=ddpg has|torch has it: (.*)", text)
    parts = [together[1]] if together else (asked[1] or "task=ddpg").split(" or ") if asked else [text]
    return [found for part in parts if (found := re.findall(r"[\w@./]+=[^\s,?]+", part))]


def build(*words: str) -> None:
    """Compose a configuration and build its task, as a run does before it trains."""
    groups = options()
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        config = plain(compose(ROOT, overrides=[forced(word, groups) for word in words]))
    config.pop("compare")
    RunSpec.of(config, Command(), EVERYONE).task().close()


@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
def test_the_answer_names_words_that_work(
    mistake: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    *before, _ = mistake
    ended = rlgan(*mistake)
    assert ended.code == 2 and len(ended.err.splitlines()) == 1 and not list(tmp_path.iterdir())
    assert MISTAKES[mistake] in ended.err
    for words in suggested(ended.err):
        build(*[word for word in before if word.partition("=")[0] not in {w.partition("=")[0] for w in words}], *words)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("evalaute latest", "evalaute: there is no such command; did you mean rlgan evaluate?"),
        ("plots outputs", "plots: there is no such command; did you mean rlgan plot?"),
        ("resume latest", "resume: is no key=value; did you mean resume=latest?"),
        ("--steps 1000", "--steps: is no key=value; did you mean steps=1000?"),
        ("--batch-size=32", "--batch-size=32: is no key=value; did you mean batch_size=32?"),
        ("seed", "seed: is no key=value; did you mean seed=VALUE?"),
        ("steps=1 nonsense", "nonsense: is no key=value; see --help"),
        ("--nonsense", "--nonsense: no such option; see --help"),
        ("resume=lates", "lates: no such run; did you mean latest?"),
    ],
)
def test_a_word_that_is_no_pair(words: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = rlgan(*words.split())
    assert ended.code == 2 and ended.err == f"rlgan: {answer}\n"


def test_what_cannot_be_built_here_is_told_by_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert 'data=hugging_face data.name=mnist (pip install "rlgan[images]"), or data=folder' in rlgan("data=mnist").err
    assert "a GPU is called cuda" in rlgan("device=gpu").err or "did you mean cuda?" in rlgan("device=gpu").err


def test_a_launcher_that_is_not_installed_names_what_to_install() -> None:
    group = "hydra/launcher"
    assert other_plugin(group, "joblib", ["basic"]).startswith("hydra/launcher = joblib: is not installed; pip install")
    assert (
        other_plugin(group, "joblibb", ["basic"])
        == f"{group} = joblibb: there is no such launcher; did you mean joblib?"
    )
    ended = rlgan("hydra/launcher=nothing", "steps=1")
    assert ended.code == 2 and "there is no such launcher; there are basic" in ended.err


def test_names_are_told_apart_and_groups_exist() -> None:
    names = [*ALIASES, *CONVERTED, *GROUPS]
    assert len(names) == len(set(names)) and all(name == normal(name) for name in names)
    assert set(GROUPS.values()) <= set(options())


def test_a_value_that_cannot_be_converted_has_no_answer_and_many_places_are_cut() -> None:
    config = {f"player{i}": {"optimizer": {"_target_": "x", "lr": 0.1}} for i in range(6)}
    answer = meant("lr", 1, config, {})
    assert answer is not None and answer.count("=1") == 4
    assert meant("polyak", "fast", {"averaging": {"tau": 0.1}}, {}) is None
    assert meant("nothing", 1, config, {}) is None and similar("xyz", config) is None
