"""The yaml files of networks, data, problems, losses and Lipschitz controls say what their classes say."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rlgan.erm import Loss, Problem
from rlgan.gan.data import Cones, Data, Funnel, Patches
from rlgan.gan.lipschitz import GradientPenalty, Lipschitz
from rlgan.gan.losses import GANLoss
from rlgan.nets import BySizeSpec, DCGANSpec, MLPSpec, NetworkSpec, ResNetSpec
from rlgan.runs.config.build import build
from rlgan.runs.config.trust import EVERYONE

CONF = Path(__file__).parents[1] / "conf"
GROUPS: Mapping[str, tuple[type, ...]] = {
    "network": (NetworkSpec,),
    "data": (Data,),
    "problem": (Problem,),
    "lipschitz": (Lipschitz,),
    "loss": (GANLoss, Loss),
}
OPTIONS = [(group, path) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


# Files whose point is to differ from the defaults of their class.
PRESETS: Mapping[str, NetworkSpec | Lipschitz | Data] = {
    "cone_128": Cones(centres=1, dimension=128),
    "funnel_16": Funnel(dimension=16),
    "patches_32": Patches(side=32, channels=3),
    "gradient_penalty_10": GradientPenalty(weight=10.0),
    "mlp_batch": MLPSpec(norm="batch"),
    "mlp_512": MLPSpec(hidden=(512, 512, 512)),
    "mlp_64": MLPSpec(hidden=(64, 64)),
    "mlp_he": MLPSpec(init="he"),
    "mlp_layer": MLPSpec(hidden=(64, 64), norm="layer"),
    "mlp_layer_128": MLPSpec(hidden=(128, 128), norm="layer"),
    "mlp_256": MLPSpec(hidden=(256, 256)),
    "mlp_400_300": MLPSpec(hidden=(400, 300)),
    "dcgan_layer": DCGANSpec(norm="layer"),
    "resnet_critic": ResNetSpec(norm="none"),
    "images": BySizeSpec(MLPSpec(norm="batch"), DCGANSpec(smallest=3, full_resolution=False)),
    "images_critic": BySizeSpec(MLPSpec(), DCGANSpec(norm="layer", smallest=3, full_resolution=False)),
}


def load(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=path.stem == "hinge")  # one word for two classes
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def read(path: Path) -> dict[str, Any]:
    """The options of one file over those of the sibling that it extends."""
    content = load(path)
    bases = [base for base in content.pop("defaults", []) if base != "_self_"]
    merged: dict[str, Any] = {}
    for base in bases:
        if isinstance(base, str):
            merged |= read(path.parent / f"{base}.yaml")
        for place, option in base.items() if isinstance(base, dict) else ():
            if place.startswith("/"):  # a section within this one: `/network@small: mlp`
                group, _, key = place[1:].partition("@")
                merged[key] = read(CONF / group / f"{option}.yaml") | content.pop(key, {})
    # A data file may be `@package _global_` and set more than its own section.
    return merged | content.get(path.parent.name, content)


@pytest.mark.parametrize(("group", "path"), OPTIONS, ids=lambda v: v.stem if isinstance(v, Path) else v)
def test_every_file_builds_its_class_and_lists_every_option(group: str, path: Path) -> None:
    node = read(path)
    thing = build(node, group)
    assert isinstance(thing, GROUPS[group])
    assert dataclasses.is_dataclass(thing)
    assert set(node) - {"_target_"} == {field.name for field in dataclasses.fields(thing)}


@pytest.mark.parametrize(
    ("group", "path"),
    [(g, p) for g, p in OPTIONS if p.stem not in PRESETS],
    ids=lambda v: v.stem if isinstance(v, Path) else v,
)
def test_a_file_and_its_class_have_the_same_defaults(group: str, path: Path) -> None:
    node = read(path)
    assert build(node, group) == EVERYONE.locate(node["_target_"], group)()


def test_one_word_names_the_loss_of_either_task() -> None:
    for key, kind in (("problem", Loss), ("data", GANLoss)):
        whole = OmegaConf.create({key: None, "loss": OmegaConf.load(CONF / "loss/hinge.yaml")})
        assert isinstance(build(OmegaConf.to_container(whole, resolve=True)["loss"], "loss"), kind)  # type: ignore[index, call-overload]


@pytest.mark.parametrize(("group", "path"), [(g, p) for g, p in OPTIONS if p.stem in PRESETS])
def test_presets(group: str, path: Path) -> None:
    assert build(read(path), group) == PRESETS[path.stem]
    assert set(PRESETS) <= {p.stem for _, p in OPTIONS}


@pytest.mark.parametrize(("data", "shape"), [("digits", (1, 8, 8)), ("folder", (3, 12, 13)), ("glyphs", (1, 28, 28))])
def test_the_critics_of_images_suit_every_control(data: str, shape: tuple[int, ...]) -> None:
    """`data=digits lipschitz=...` must work for every control without further options."""
    content = load(CONF / "data" / f"{data}.yaml")
    chosen = {key: value for entry in content["defaults"] if isinstance(entry, dict) for key, value in entry.items()}
    option = chosen["override /network@critic.network"]
    critic = build(read(CONF / "network" / f"{option}.yaml"), "critic.network").build(shape, ())
    for path in (CONF / "lipschitz").glob("*.yaml"):
        build(read(path), "lipschitz").check(critic)
