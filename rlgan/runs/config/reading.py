"""YAML files of users and of run directories: read strictly, within bounds, and said by name what is wrong.

Also how numbers and switches of a file were written, for places that take words (rlgan.runs.config.places).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import basecontainer  # imports the loader from where its version has it
from omegaconf._utils import get_omega_conf_dumper

from rlgan.task.errors import ConfigError

#: Beyond any configuration, and read in seconds: bytes, depth, values with what aliases repeat.
LARGEST, DEEPEST, MOST = 512 * 1024, 64, 100_000

_HEADER = re.compile(r"\s*#\s*@package\b", re.MULTILINE)

# (key within its file, type, value): as it was written; the last one that was read stands.
_written: dict[tuple[str, type, Any], str] = {}


def read(data: bytes, name: str, remember: bool = False) -> Any:
    """Read a YAML document into plain containers; interpolations stay text, and tags of Python's are refused.

    Args:
        data: the file's content, UTF-8 or with a byte order mark.
        name: of the file, for messages.
        remember: keep how values were written, for `written`.

    Raises:
        ConfigError: `name: what is wrong; remedy`.
    """
    text = decoded(data, name)
    loader: Any = vars(basecontainer)["get_yaml_loader"]()
    try:
        _check_depth(text, loader)
        reader = loader(text)
        node = reader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        found = reader.construct_document(node)
    except _Refused as error:
        raise ConfigError(f"{name}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: is nested too deeply; flatten it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {_fault(error, text)}") from None
    except (ValueError, OverflowError, TypeError) as error:  # a number of thousands of digits, a key that is a list
        raise ConfigError(f"{name}: cannot be read ({' '.join(str(error).split())[:80]})") from None
    if remember:
        for key, scalar in _scalars(node):
            value = loader(scalar.value).construct_object(yaml.ScalarNode(scalar.tag, scalar.value), deep=True)
            if isinstance(value, bool | int | float) and scalar.style is None:
                _written[key, type(value), value] = scalar.value
    return found


def dump(config: Any) -> str:
    """Write plain containers as YAML that `read` gives back; text that looks like a number is quoted."""
    dumper = get_omega_conf_dumper()
    return str(yaml.dump(config, Dumper=dumper, default_flow_style=False, allow_unicode=True, sort_keys=False))


def written(path: str, value: Any) -> str | None:
    """How a file that was read wrote the value at a dotted key, or None; files know the end of a key alone."""
    parts = path.split(".")
    for start in range(len(parts)):
        found = _written.get((".".join(parts[start:]), type(value), value))
        if found is not None:
            return found
    return None


def decoded(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, or what its byte order mark says.

    Raises:
        ConfigError: it is neither, or too large.
    """
    if len(data) > LARGEST:
        raise ConfigError(f"{name}: has {len(data):,} bytes, and a configuration at most {LARGEST:,}; make it smaller")
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: is not UTF-8; save it with that encoding in your editor") from None
    if "\0" in text:
        raise ConfigError(f"{name}: is no text; save it as UTF-8 in your editor")
    return text


def header_missing(text: str) -> str | None:
    """Say what is wrong with the header `# @package _global_` of a file whose keys are the run's own, or None."""
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            break
        if _HEADER.match(line):
            return None
    if _HEADER.search(text):
        return "has its line `# @package _global_` below other lines; move it to the top"
    return "lacks the line `# @package _global_`, by which its keys are the run's own; put it at the top"


class _Refused(Exception):
    """YAML that can be parsed and is not taken; the message goes on from the file's name."""


def _check_depth(text: str, loader: Any) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _Refused(f"is nested more than {DEEPEST} deep; flatten it")


def _check_size(root: yaml.Node) -> None:
    """Refuse more values than `MOST`, aliases counted as often as they are repeated, and a section within itself."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = -1
            children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))]
            leaf = isinstance(node, yaml.ScalarNode)
            sizes[id(node)] = 1 if leaf else 1 + sum(map(size, children))
        if sizes[id(node)] < 0:
            raise _Refused("holds a section that is within itself; write it out")
        if sizes[id(node)] > MOST:
            raise _Refused(f"holds more than {MOST:,} values, its aliases written out; make it smaller")
        return sizes[id(node)]

    size(root)


def _scalars(node: yaml.Node, path: str = "") -> Iterator[tuple[str, yaml.ScalarNode]]:
    if isinstance(node, yaml.ScalarNode):
        yield path, node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _scalars(value, f"{path}.{key.value}" if path else str(key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _scalars(value, f"{path}[{index}]")


def _fault(error: yaml.YAMLError, text: str) -> str:
    """What is wrong, with the line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return f"is no YAML ({problem[:80]}); mend it"
    line = f"line {mark.line + 1}"
    lines = text.splitlines()
    row = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in row[: len(row) - len(row.lstrip())] or "'\\t'" in problem:
        return f"{line} is indented by a tab; use spaces"
    if "duplicate key" in problem:
        key = problem.rsplit(" ", 1)[-1]
        return f"{line}: the key {key} is there twice; keep one"
    if "constructor for the tag" in problem:
        return f"{line}: a tag is none of plain YAML's; leave it out"
    return f"{line} is no YAML ({problem[:80]}); mend it"


def content(data: bytes, name: str, remember: bool = False) -> dict[str, Any]:
    """Read a YAML file that holds keys and values.

    Raises:
        ConfigError: as `read`, or it is empty, a list or a single value.
    """
    found = read(data, name, remember)
    if found is None:
        raise ConfigError(f"{name}: is empty; write keys and values into it, or remove it")
    if not isinstance(found, dict):
        what = "a list" if isinstance(found, list) else "a single value"
        raise ConfigError(f"{name}: holds {what}; it must hold keys and values, as `steps: 1000`")
    return found


def own_name(path: Path) -> str:
    """A file's path, relative where it lies below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
