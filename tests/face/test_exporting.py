"""`rlgan export` and `rlgan.export`: what is written is the network that was trained, and is read back as data."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

import rlgan
from rlgan.rl.border.functions import Policy
from rlgan.runs.record.directory import is_run
from rlgan.runs.share import networks
from rlgan.runs.share.start import restored
from rlgan.task.errors import ConfigError, RunError
from tests.face.runs import WORDS, small_run
from tests.small import rlgan as command


def test_a_policy_is_the_same_in_onnxruntime_and_torch(tmp_path: Path) -> None:
    ended = command("export", str(small_run("ddpg")), "to=mine", "checkpoint=last")
    assert ended.code == 0, ended.err
    obs = np.random.default_rng(0).normal(size=(33, 3)).astype(np.float32)
    wanted = rlgan.load(small_run("ddpg"), "last").policy(obs)
    session = onnxruntime.InferenceSession("mine/policy.onnx")
    assert np.abs(session.run(None, {"obs": obs})[0] - wanted).max() < 1e-5
    program = torch.export.load("mine/policy.pt2").module()
    assert np.abs(program(torch.from_numpy(obs)).numpy() - wanted).max() < 1e-5
    about = json.loads(Path("mine/rlgan.json").read_text())
    assert about["step"] == 70 and about["functions"]["critic"]["inputs"] == {"obs": ["n", 3], "action": ["n", 1]}
    assert 0 < about["functions"]["policy"]["onnx"]["largest difference"] < 1e-5
    files = {"README.md", "config.json", "model.safetensors", "rlgan.json"}
    assert {file.name for file in Path("mine").iterdir()} == files | {
        f"{name}.{kind}" for name in ("policy", "critic") for kind in ("onnx", "pt2")
    }


@pytest.mark.slow
@pytest.mark.parametrize("task", ["wgan", "erm"])
def test_every_function_of_every_task_is_written_as_it_is(task: str) -> None:
    to = rlgan.export(small_run(task), "mine")
    for name, call in rlgan.load(small_run(task)).functions.items():
        inputs = call._draw(9, 5)
        wanted = call.module(*inputs.values()).numpy()
        session = onnxruntime.InferenceSession(to / f"{name}.onnx")
        assert np.abs(session.run(None, {k: x.numpy() for k, x in inputs.items()})[0] - wanted).max() < 1e-5
        assert np.abs(torch.export.load(to / f"{name}.pt2").module()(*inputs.values()).numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize("task", WORDS)
def test_the_weights_are_those_of_the_run_and_load_as_it(task: str) -> None:
    path = small_run(task)
    to = rlgan.export(rlgan.load(path), "mine", formats=["safetensors"])
    found = restored(path)
    weights, read = found.task.weights(), load_file(to / "model.safetensors")
    assert weights.keys() == read.keys() and all(torch.equal(weights[key], read[key]) for key in read)
    found.task.close()
    run, first = rlgan.load(to), rlgan.load(path)
    assert run.functions.keys() == first.functions.keys() and run.step == first.step and not is_run(to)
    for name, call in run.functions.items():
        assert np.array_equal(call.sample(5), first.functions[name].sample(5)), name
    tag = found.task.best[0]
    assert run.evaluate()[tag] == pytest.approx(first.evaluate()[tag], rel=1e-6)
    with pytest.raises(RunError, match="exported without its curves"):
        run.metrics()


def test_the_card_is_one_of_the_hubs_and_has_the_numbers() -> None:
    path = small_run("ddpg")
    card = huggingface_hub.ModelCard.load(rlgan.export(path, "mine", formats=["safetensors"]) / "README.md")
    assert card.data.library_name == "rlgan" and card.data.pipeline_tag == "reinforcement-learning"
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert results["return/eval"] == rlgan.load(path).summary["return/eval"]
    assert card.data.eval_results[0].dataset_name == "DDPG on Pendulum-v1"
    assert 'rlgan.load("mine")' in card.text and "`policy` | `obs` (n, 3) | the action (1,)" in card.text


def test_a_new_run_begins_at_an_exported_folder(tmp_path: Path) -> None:
    rlgan.export(small_run("erm"), "mine", formats=["safetensors"])
    words = ("steps=1", "optimizer.lr=1e-30", "init_from=mine", "run_dir=new")
    new = rlgan.train(*WORDS["erm"], *words)
    given = load_file("mine/model.safetensors")
    found = restored(new.path).task.weights()
    assert all(torch.allclose(found[key], given[key]) for key in found)
    shutil.rmtree("mine")
    assert rlgan.train("resume=new", steps=2, progress=False).at("last").step == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("to=x", "formats=[onx]"), "formats = onx: there is no such format; choose some of safetensors, onnx, torch"),
        ((), "to: is missing; name a new folder"),
        (("to=full",), "to = full: holds other files"),
        (("to=full/file",), "to = full/file: is a file"),
        (("to=x", "chekpoint=last"), "chekpoint = last: there is no such key; did you mean checkpoint?"),
        (("to=x", "checkpoint=9"), "checkpoint = 9: there is none"),
    ],
)
def test_a_mistake_is_a_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    ended = command("export", str(small_run("erm")), *words)
    assert ended.code == 2 and said in ended.err and ended.err.count("\n") == 1
    assert not Path("x").exists()


def test_several_seeds_are_exported_one_by_one() -> None:
    many = small_run("erm", "seeds=[3,5]")
    ended = command("export", str(many), "to=x")
    assert ended.code == 2 and f"export them one by one, {many}/seed=3" in ended.err


def test_a_network_that_becomes_another_one_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "TOLERANCE", 0.0)
    with pytest.raises(ConfigError, match=r"policy: as onnx it differs by .* leave onnx out of formats="):
        rlgan.export(small_run("ddpg"), "mine", formats=["onnx"])
    assert not Path("mine").exists()


def test_a_network_that_cannot_be_traced_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def branches(self: Policy, obs: torch.Tensor) -> torch.Tensor:
        return obs if float(obs.sum()) > 0 else -obs

    monkeypatch.setattr(Policy, "forward", branches)
    with pytest.raises(ConfigError, match="policy: cannot be written as torch"):
        rlgan.export(small_run("ddpg"), "mine", formats=["torch"])


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = networks.needed
    assert real("json") is json
    with pytest.raises(ConfigError, match=r'needs nosuchmodule, .* pip install "rlgan\[export\]"'):
        real("nosuchmodule.torch")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="needs onnxruntime"):
        rlgan.export(small_run("erm"), "mine")
    assert not Path("mine").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: {name: tensor.to(torch.int32) for name, tensor in w.items()}, "is torch.int32 there"),
        (lambda w: {**w, "zzz": torch.zeros(1)}, "zzz: is there, and not here"),
    ],
)
def test_weights_of_another_kind_are_refused(change: Any, said: str) -> None:
    file = rlgan.export(small_run("erm"), "mine", formats=["safetensors"]) / "model.safetensors"
    save_file(change(load_file(file)), file)
    with pytest.raises(RunError, match=said):
        rlgan.load("mine")


@pytest.mark.parametrize(("key", "value"), [("step", "x"), ("step", None), ("metrics", {"risk/train": "x"})])
def test_a_record_that_cannot_be_is_named(key: str, value: Any) -> None:
    file = rlgan.export(small_run("erm"), "mine", formats=["safetensors"]) / "rlgan.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(RunError, match=f"rlgan.json: {key}"):
        rlgan.load("mine")


@pytest.mark.parametrize("name", ["config.json", "rlgan.json"])
def test_links_of_the_hubs_cache_are_read_and_a_fifo_is_not(name: str, tmp_path: Path) -> None:
    to = rlgan.export(small_run("erm"), "mine", formats=["safetensors"])
    (to / name).rename(tmp_path / name)
    (to / name).symlink_to(tmp_path / name)
    assert rlgan.load(to).step == 4
    (to / name).unlink()
    os.mkfifo(to / name)
    with pytest.raises(RunError, match=r"no regular file|is not a run"):
        rlgan.load(to)


def test_what_an_earlier_export_wrote_does_not_stay_beside_another_run(tmp_path: Path) -> None:
    to = rlgan.export(small_run("erm"), "mine", formats=["torch"])
    (to / "mine.onnx").write_text("of the user's own")
    with pytest.raises(RunError, match=r"mine: was exported without its weights; .* with safetensors in formats="):
        rlgan.load(to)
    assert "was written by `rlgan export` and is no run" in command("evaluate", "mine").err
    about = json.loads((to / "rlgan.json").read_text())
    about["functions"]["../out"] = {}
    (to / "rlgan.json").write_text(json.dumps(about))
    (tmp_path / "out.pt2").write_text("")
    rlgan.export(small_run("wgan"), to, formats=["safetensors"])
    files = {"README.md", "config.json", "model.safetensors", "rlgan.json", "mine.onnx"}
    assert {file.name for file in to.iterdir()} == files and (tmp_path / "out.pt2").exists()
    assert rlgan.load(to).sample(1).shape == (1, 2)


@pytest.mark.parametrize(
    ("file", "said"),
    [("model.safetensors", "cannot be read"), ("config.json", "cannot be read"), ("rlgan.json", "cannot be read")],
)
def test_a_damaged_file_is_named(file: str, said: str) -> None:
    to = rlgan.export(small_run("erm"), "mine", formats=["safetensors"])
    data = (to / file).read_bytes()
    (to / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match=f"{file}: {said}"):
        rlgan.load(to)
