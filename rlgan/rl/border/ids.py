"""Which environment was meant by an id that nobody has registered."""

from __future__ import annotations

import re
from contextlib import closing

import gymnasium
from gymnasium import spaces

from rlgan.task.suggest import closest

_ID = re.compile(r"(?:(?P<space>[\w:-]+)/)?(?P<name>.+?)(?:-v(?P<version>\d+))?")

# Namespaces of gymnasium's that hold other implementations or adapters, of which nobody thinks.
_ASIDE = ("phys2d/", "tabular/", "GymV2")


def other_id(name: str, module: str = "") -> str:
    """What to do about an id that is not registered: the one that was meant, or where ids come from.

    An id is proposed in its newest version, and only if its actions are numbers, which a deterministic policy can give.

    Args:
        name: as typed, without the module.
        module: that was named with it, and has been imported.
    """
    ids = [one for one in gymnasium.registry if not one.startswith(_ASIDE)]
    if module:
        own = sorted(one for one in ids if _package(one) == module.split(".")[0])
        if not own:
            return f"{module} registers no environment; name the module that does"
        close = closest(_plain(name), map(_plain, own))
        mine = next((one for one in own if _plain(one) == close), None)
        return f"did you mean {module}:{mine}?" if mine else f"{module} registers {', '.join(own)}"
    newest: dict[str, str] = {}
    for one in sorted(ids, key=_version):
        newest[_plain(one)] = one
    ours = {plain.rpartition("/")[2]: one for plain, one in newest.items() if one.startswith("rlgan/")}
    newest = {**ours, **newest}
    if found := newest.get(_plain(name)):
        if _actions(found) not in ("", "Box"):
            found = newest.get(f"{_plain(name)}continuous", found)  # as of MountainCar and LunarLander
        kind = _actions(found)
        if kind in ("", "Box"):
            return f"did you mean {found}?"
        return f"{found} is there, but has {kind} actions; deterministic policies need a Box of floats (Pendulum-v1)"
    space = name.rpartition("/")[0]
    if space and not any(one.startswith(f"{space}/") for one in ids):
        return f"nothing that is imported has the namespace {space}; import its package with env.id=package:{name}"
    close = closest(_plain(name), newest, 0.75)
    if close and _actions(newest[close]) in ("", "Box"):
        return f"did you mean {newest[close]}?"
    return "import its package with env.id=package:Name-v0"


def _plain(name: str) -> str:
    """An id without its version, and without what people write differently."""
    found = _ID.fullmatch(name)
    if found is None:
        return name
    plain = re.sub(r"[\s_-]", "", found["name"]).lower()
    return f"{found['space'].lower()}/{plain}" if found["space"] else plain


def _package(name: str) -> str:
    entry = gymnasium.registry[name].entry_point
    return re.split("[.:]", entry if isinstance(entry, str) else getattr(entry, "__module__", ""))[0]


def _version(name: str) -> int:
    found = _ID.fullmatch(name)
    return int(found["version"] or 0) if found else 0


def _actions(name: str) -> str:
    """The kind of an environment's space of actions; empty where it cannot be made here, as its simulator lacks."""
    if "mujoco" in str(gymnasium.registry[name].entry_point):  # all act by numbers, and MuJoCo prints when it starts
        return "Box"
    try:
        env = gymnasium.make(name, disable_env_checker=True)
    except Exception:  # what is missing is told when it is chosen
        return ""
    with closing(env):
        return "Box" if isinstance(env.action_space, spaces.Box) else type(env.action_space).__name__
