"""The model card of an exported folder: README.md in the form of huggingface_hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlgan.runs.share.exported import needed

_PIPELINES = {"policy": "reinforcement-learning", "generator": "unconditional-image-generation"}


def card(config: Mapping[str, Any], about: Mapping[str, Any], explained: Mapping[str, str], to: Path) -> str:
    """The text of README.md: metadata, what this is, how it is used, what it reached.

    Args:
        config: of the run.
        about: rlgan.json.
        explained: what a metric means, by its tag.
        to: the folder, for the examples.
    """
    hub = needed("huggingface_hub")
    functions: Mapping[str, Any] = about["functions"]
    words = what(config)
    metrics = {tag: x for tag, x in about["metrics"].items() if isinstance(x, int | float) and x == x}
    results = [
        hub.EvalResult(
            task_type=next((_PIPELINES[name] for name in functions if name in _PIPELINES), "other"),
            dataset_type=_slug(words),
            dataset_name=words,
            metric_type=_slug(tag),
            metric_name=tag,
            metric_value=float(x),
        )
        for tag, x in metrics.items()
    ]
    data = hub.ModelCardData(
        library_name="rlgan",
        tags=["rlgan", *functions],
        pipeline_tag=next((_PIPELINES[name] for name in functions if name == "policy"), None),
        model_name=about["run"] if results else None,
        eval_results=results or None,
    )
    name = to.name
    body = [f"# {about['run']}", "", f"{words}, trained for {about['step']:,} steps by rlgan {about['rlgan']}.", ""]
    body += ["| function | inputs | gives | files |", "|---|---|---|---|"]
    for key, own in functions.items():
        takes = ", ".join(f"`{word}` {_shape(shape)}" for word, shape in own["inputs"].items())
        files = ", ".join(f"`{own[kind]['file']}`" for kind in ("onnx", "torch") if kind in own)
        body.append(f"| `{key}` | {takes} | {own['about']} | {files or '-'} |")
    body += ["", "## Use", "", "```python", "import rlgan", "", f'run = rlgan.load("{name}")']
    body += [f"run.functions  # {', '.join(functions)}"]
    if "policy" in functions:
        body += ["action = run.policy(observation)  # numpy, in the environment's own units"]
    if "generator" in functions:
        body += ["samples = run.sample(64, seed=0)"]
    body += ["```", ""]
    body += _elsewhere(functions)
    if metrics:
        body += ["## Results", "", f"Of the evaluation at step {about['step']:,}.", ""]
        body += ["| metric | value | |", "|---|---|---|"]
        body += [f"| {tag} | {x:.6g} | {explained.get(tag, '')} |" for tag, x in metrics.items()]
        body.append("")
    body += ["`config.json` is the whole configuration; the weights are in `model.safetensors` by name."]
    made: str = str(hub.ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(body) + "\n"))
    return made


def _elsewhere(functions: Mapping[str, Any]) -> list[str]:
    """How the first network is run without rlgan."""
    for own in functions.values():
        if "onnx" not in own:
            continue
        word = next(iter(own["inputs"]))
        more = f", differs by {own['onnx']['largest difference']:.1g} at most from the original on random inputs"
        return [
            f"Without rlgan, in onnxruntime (`{own['onnx']['file']}`{more}):",
            "",
            "```python",
            "import onnxruntime",
            "",
            f'session = onnxruntime.InferenceSession("{own["onnx"]["file"]}")',
            f'{own["result"]} = session.run(None, {{"{word}": {word}}})[0]  # {word} {_shape(own["inputs"][word])}',
            "```",
            "",
        ]
    return []


def what(config: Mapping[str, Any]) -> str:
    """The task in a few words, and what it was trained on: `DDPG on Pendulum-v1`."""

    def name(section: str) -> str:
        node = config.get(section)
        if not isinstance(node, Mapping):
            return ""
        return str(node.get("id") or str(node.get("_target_", "")).rpartition(".")[2])

    of = name("agent") or name("task") or "a task"
    on = next((word for word in map(name, ("env", "data", "problem")) if word), "")
    return f"{of} on {on}" if on else of


def _slug(words: str) -> str:
    return "-".join(words.lower().replace("/", " ").replace("_", " ").split())


def _shape(shape: list[Any]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
