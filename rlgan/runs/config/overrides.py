"""Check the words of a command against the groups that there are, and turn Hydra's error pages into one line."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException

from rlgan.runs.answers.choices import option_meant, other_option, other_plugin
from rlgan.runs.answers.meant import either
from rlgan.runs.config.sources import ROOT, misnamed
from rlgan.runs.config.words import as_text, parse
from rlgan.runs.options import HOOKS, conf_directory, options
from rlgan.task.errors import ConfigError
from rlgan.task.settings import SETTINGS
from rlgan.task.suggest import closest, nearest


def is_group(override: Override, groups: Mapping[str, Any]) -> bool:
    """Tell whether an override chooses a group's option, rather than setting a value."""
    key = override.key_or_group
    return override.package is not None or "/" in key or key in groups


def forced(text: str, groups: Mapping[str, Any]) -> str:
    """Turn `key=value` into `++key=value`, where it sets a value.

    Hydra refuses a key that the YAML does not list, although the target may have it with a default, and does so in
    words of its own. The schema of rlgan.runs.config.build is what decides, and it knows the nearest name.
    """
    override = parse(text)
    if override.key_or_group in HOOKS and override.value() is None:
        return f"{override.key_or_group}=[]"
    if override.type is not OverrideType.CHANGE or is_group(override, groups) or text.startswith("hydra."):
        return text
    return f"++{text}"


def refuse_what_names_no_option(override: Override, groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse `callbacks=[{_target_: my.Callback}]`: a group's list has names of options, which are words.

    Raises:
        ConfigError: with what to write instead.
    """
    group, given = override.key_or_group, None if override.is_delete() else override.value()
    if group in groups and isinstance(given, list) and (odd := [one for one in given if not isinstance(one, str)]):
        example = next(iter(groups[group]), "NAME")
        raise ConfigError(
            f"{group} = {str(override.input_line).partition('=')[2]}: {odd[0]} names no option of {group}; list names, "
            f"for example {group}=[{example}], and write one of your own as conf/{group}/NAME.yaml"
        )


def refuse_setting_for_option(text: str, overrides: Sequence[str], groups: Mapping[str, Any]) -> None:
    """Refuse `critic.optimizer=adam` and `optimizer.critic=adam`: an option is chosen as `group@place=option`.

    Raises:
        ConfigError: with the word that was meant.
    """
    key, value = _key(text), _value(text)
    parts = key.split(".")
    group = next((part for part in (parts[-1], parts[0]) if part in groups), None)
    if len(parts) == 1 and group is None and "@" not in key:  # `critic=mlp`
        if key in SETTINGS or not any(value in names for names in groups.values()):
            return
        mounted = [place for place in _choices(overrides) if place.partition("@")[2].startswith(f"{key}.")]
        if words := [f"{at}={value}" for at in mounted if value in groups[at.partition("@")[0]]]:
            raise ConfigError(f"{key} = {value}: is an option, and {key} is no group; did you mean {either(words)}?")
        return
    if len(parts) < 2 or group is None or "@" in key:
        return
    every = [closest(one, groups[group]) for one in value.split(",")]
    option = ",".join(filter(None, every))
    if None in every:
        return
    places = sorted(place.partition("@")[2] for place in _choices(overrides) if place.startswith(f"{group}@"))
    # `critic.optimizer.optimizer=Adam`, a key inside of a place, is a setting of the option that stands there.
    named = [at for at in places if set(parts) <= {group, *at.split(".")} and not key.startswith(f"{at}.")]
    if named:
        meant = " or ".join(f"{group}@{at}={option}" for at in named)
        raise ConfigError(f"{key} = {value}: {option} is an option of the group {group}; did you mean {meant}?")


def changes(overrides: Sequence[str], choices: Mapping[str, str]) -> dict[str, Any]:
    """Read the overrides of a resumed run as values by dotted key.

    Raises:
        ConfigError: one changes a group, deletes, or sweeps.
    """
    groups = options()
    values: dict[str, Any] = {}
    for text in overrides:
        override = parse(text)
        refuse_setting_for_option(text, [f"task={choices[key]}" for key in ("task",) if key in choices], groups)
        key = override.get_key_element().lstrip("+~")
        if override.is_sweep_override():
            raise ConfigError(f"{key} = {_value(text)}: a resumed run cannot be swept; give one value")
        value = override.value()
        if key in HOOKS:
            values[key] = _hooks(key, value if isinstance(value, list) else [value], groups[key])
            continue
        if is_group(override, groups):
            if choices.get(key) == str(value):
                continue
            was = f"is {choices[key]} in this run and " if key in choices else ""
            raise ConfigError(f"{key} = {value}: {was}cannot change on resume; start a new run")
        if override.is_delete():
            raise ConfigError(f"{text}: a resumed run cannot lose a key; set it to another value")
        values[key] = value
    return values


def _hooks(key: str, names: Sequence[Any], known: Sequence[str]) -> dict[str, Any]:
    """The sections that the options of `callbacks`, `metrics` or `pictures` stand for, by name."""
    found: dict[str, Any] = {}
    for name in names:
        if str(name) not in known:
            hint = nearest(str(name), known, "its options are")
            raise ConfigError(f"{key} = {name}: {key} has no such option; {hint}")
        found |= _composed([f"{key}=[{name}]"]).get(key, {})
    return found


def whole_words(words: Sequence[str], config: Mapping[str, Any] | None = None) -> list[str]:
    """Quote the values with commas that are one word or one path; several values are for a sweep alone.

    Args:
        words: of one run.
        config: the configuration that they change; None: it is composed of them.
    """
    several = [word for word in words if "," in word and "=" in word and parse(word).is_sweep_override()]
    if not several:
        return list(words)
    from rlgan.runs.config.places import Settler
    from rlgan.runs.config.trust import EVERYONE, Trust

    groups = options()
    settle = Settler(EVERYONE if config is None else Trust.granted())
    if config is None:
        config = _composed([forced(word, groups) for word in words if word not in several])
    text = {word: as_text(word) for word in several if settle.place(config, _key(word))}
    return [text.get(word, word) for word in words]


def _composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration, as far as it goes without what is wrong with it; that is said when it is composed to run."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            found = OmegaConf.to_container(compose(ROOT, overrides=list(overrides)))
    except (HydraException, ConfigError):
        return {}
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def of_other_tasks(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The default configurations of the tasks that are not this configuration's, by name."""
    from hydra.core.global_hydra import GlobalHydra

    mine = config.get("task")
    target = mine.get("_target_") if isinstance(mine, Mapping) else None
    state, former = GlobalHydra.instance(), GlobalHydra.instance().hydra  # this may be asked for within a job
    try:
        found = {task: _composed([f"task={task}"]) for task in options().get("task", ())}
    finally:
        state.hydra = former
    return {task: other for task, other in found.items() if other and other["task"].get("_target_") != target}


def composition(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What words of options and values give, not resolved, and the options of all groups, Hydra's too.

    Nothing where they cannot be composed; that is said when they are composed to run.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            found = compose(ROOT, overrides=list(words), return_hydra_config=True)
    except (HydraException, ConfigError):
        return {}, {}
    chosen = {str(key): str(value) for key, value in found.hydra.runtime.choices.items()}
    values = OmegaConf.to_container(found)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "hydra"}, chosen


def explain(error: BaseException, overrides: Sequence[str]) -> str:
    """Turn an error of Hydra's into one line `key = value: what is wrong; remedy`."""
    ours: BaseException | None = error  # Hydra wraps what a launcher's or a sweeper's constructor says
    while ours is not None and not isinstance(ours, ConfigError):
        ours = ours.__cause__
    if ours is not None:
        return str(ours)
    groups = options()
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if group.startswith("hydra/"):
            return other_plugin(group, option, error.options or ())
        if group.partition("/")[0] in groups:
            group, _, option = error.missing_cfg_file.partition("/")
        if group in groups:
            # Plugins of Hydra's may bring options as well; folders within a group are none.
            folders = {name.partition("/")[0] for name in groups[group] if "/" in name}
            if "/" not in option:
                groups[group] = sorted({*groups[group], *(error.options or ())} - folders)
            key = next((k for k in map(_key, overrides) if k.partition("@")[0] == group), group)
            if (file := misnamed(f"{group}/{option}")) is not None:
                return f"{key} = {option}: {file} is not read; rename it to {option.rpartition('/')[2]}.yaml"
            hint = other_option(key, option, groups, _choices(overrides).get("task", "") if group != "task" else "")
            return f"{key} = {option}: {group} has no such option; {hint}"
        if group:
            return _no_group(group, option, groups)
    unknown = re.search(r"Override (\S+?)=(\S+) looks like a config group override, but", text)
    if unknown:
        return _no_group(unknown[1], unknown[2], groups)
    refused = re.search(r"Could not override '([^']+)'", text)
    if refused:
        return _refused(refused[1], overrides, groups)
    twice = re.search(r"Multiple values for ([^.]+)\.", text)
    if twice:
        return f"{twice[1]}: was given twice; keep one"
    several = re.search(r"Ambiguous value for argument '\+*([^=]+)=(.*?)' 1\.", text)
    if several:
        return f"{several[1]} = {several[2]}: are several values; -m runs each of them, [{several[2]}] is one list"
    return text.split(" See https://hydra.cc")[0].split(" Set the environment variable")[0]


def _no_group(key: str, value: str, groups: Mapping[str, Any]) -> str:
    if key.startswith("hydra/"):
        return other_plugin(key, value, ())
    hint = nearest(key.partition("@")[0], groups, "there are")
    return f"{key} = {value}: there is no such group; {hint}"


def _refused(key: str, overrides: Sequence[str], groups: Mapping[str, Any]) -> str:
    value = next((_value(item) for item in overrides if _key(item) == key), "?")
    group = key.partition("@")[0]
    mounted = _choices(overrides)
    if group not in groups:
        return _no_group(key, value, groups)
    task = mounted.get("task", "this task")
    places = [place for place in mounted if place.partition("@")[0] == group]
    # Of schedules those of the learning rate: `critic.schedule`, and not `critic.noise_schedule`.
    if places := sorted([place for place in places if place.endswith(f".{group}")] or places, key=_player):
        known = groups[group]
        option = ",".join(
            option_meant(group, one, known, task) or closest(one, known) or one for one in value.split(",")
        )
        if "@" in key or len(places) == 1:
            at = places[0] if len(places) == 1 else closest(key, places)
            hint = f"did you mean {at}={option}?" if at else f"it has {', '.join(places)}"
            return f"{key} = {value}: task {task} has no such place; {hint}"
        both = " ".join(f"{place}={option}" for place in places)
        which = "Both" if len(places) == 2 else "All"
        return f"{key} = {value}: {group} is mounted once per player; did you mean {either(places)}? {which}: {both}"
    for other in groups["task"]:
        if any(place.partition("@")[0] == group for place in _choices([f"task={other}"])):
            close = closest(value, groups[group])
            hint = f"did you mean task={other} {key}={close}?" if close else f"choose task={other}"
            return f"{key} = {value}: task {task} has no group {group}, task {other} has; {hint}"
    own = {place.partition("@")[0] for place in mounted if place not in ("task", "experiment")}
    return f"{key} = {value}: task {task} has no group {group}; {nearest(group, own, 'it has')}"


def _player(place: str) -> tuple[bool, str]:
    """The critic comes first."""
    return "@critic." not in place, place


def _choices(overrides: Sequence[str]) -> dict[str, str]:
    """The groups that the chosen task mounts, composed without the other overrides."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    tasks = [item for item in overrides if _key(item) in ("task", "experiment") and "," not in item]
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            composed = compose(ROOT, overrides=tasks, return_hydra_config=True)
    except HydraException:
        return {}
    return group_choices(composed.hydra.runtime.choices)


def group_choices(choices: Mapping[Any, Any]) -> dict[str, str]:
    """Keep of Hydra's record of chosen options those of our groups."""
    return {str(k): str(v) for k, v in choices.items() if not str(k).startswith("hydra/") and v is not None}


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+~")


def _value(text: str) -> str:
    return text.partition("=")[2]
