"""The lectures by one command: which are run, what is skipped, and the page."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts.lectures import ROOT, Lecture, chosen, lectures, main
from scripts.studies.lecture_page import Entry, page

YAML = """# @package _global_
# A short one
defaults:
  - override /task: wgan
  - override /data: dirac
  - override /optimizer@critic.optimizer: sgd
  - override /optimizer@generator.optimizer: sgd
  - override /lipschitz: clip
  - _self_
steps: 6
batch_size: 1
eval_every: 0
checkpoint_every: 0
tensorboard: false
compile: false
compare:
  title: {title}
  claim: Something <b>happens</b>.
  variants:
    simultaneous: [game=simultaneous]
  rules:
    it stays: distance_simultaneous > {least}
  figure:
    _target_: rlgan.lectures.orders_of_play
    window: 2
"""
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with three lectures beside those that there are."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "experiment" / "lecture"
    folder.mkdir(parents=True)
    for name, least in {"901_first": 0.1, "902_second": 99, "903_third": 0.1}.items():
        (folder / f"{name}.yaml").write_text(YAML.format(title=f"The {name[4:]}", least=least))
    return tmp_path


def finished(name: str, *words: str, seen: bool = True) -> Lecture:
    """A lecture with what a finished run leaves, as far as it is looked at here."""
    lecture = next(one for one in lectures() if one.name == name)
    lecture.folder.mkdir(parents=True)
    (lecture.folder / "status.json").write_text(json.dumps({"state": "finished", "step": 1}))
    rules = {"it stays": {"rule": "distance > 0.1", "holds": seen, "measured": {"distance": 0.25}}}
    summary = {"seen": seen, "rules": rules, "claim": "Something <b>happens</b>.", "seconds": 90.0, "numbers": {}}
    (lecture.folder / "summary.json").write_text(json.dumps(summary | {"versions": {"torch": "9.9"}}))
    (lecture.folder / "figure.png").write_bytes(PNG)
    lecture.folder.with_name(f"{name}.json").write_text(json.dumps(lecture.fingerprint(words)))
    return lecture


def test_they_are_found_by_number_and_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    every = lectures()
    numbers = [one.number for one in every]
    assert numbers == sorted(numbers) and 19 in numbers and numbers[-3:] == [901, 902, 903]
    assert [one.name for one in chosen(every, ["902", "orders", "0019"])] == ["19_orders_of_play", "902_second"]
    assert chosen(every, []) == every
    assert main(["--list", "--only", "90"]) == 2
    assert capsys.readouterr().err.startswith("lectures: --only 90: means no lecture; ")
    assert main(["--only", "901", "--jobs", "0"]) == 2 and main(["--only", "901", "no_such_lecture"]) == 2


def test_those_of_our_own_say_what_they_show() -> None:
    own = [one for one in lectures() if ROOT in one.file.parents]
    assert all(1 <= one.number <= 29 for one in own) and len({one.title for one in own}) == len(own)
    for one in own:
        assert one.section["claim"] and one.section["deck"] and one.section["slide"] and one.section["rules"], one.name


def test_what_is_finished_is_skipped_unless_it_changed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lecture = finished("901_first")
    finished("902_second", seen=False)
    only = ["--only", "901", "902"]
    assert main(only) == 0
    out = capsys.readouterr().out
    assert "0 to run, 2 finished, 0 changed\n1 seen, 1 not seen, of 2\noutputs/lectures/index.html" in out
    assert main([*only, "seed=1"]) == 0
    assert capsys.readouterr().out.count("its words are others since it was run; --fresh") == 2
    lecture.file.write_text("# a comment\n" + lecture.file.read_text())
    main(only)
    assert "0 to run, 2 finished" in capsys.readouterr().out
    lecture.file.write_text(lecture.file.read_text().replace("steps: 6", "steps: 7"))
    main(only)
    assert "The first: its YAML has changed since it was run; --fresh trains it anew" in capsys.readouterr().out
    main(["--list", *only])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["901", "The", "first", *["seen", "(its", "YAML", "has", "changed", "since)"]],
        ["902", "The", "second", "not", "seen"],
    ]


def test_the_page_is_one_file_with_all_that_is_to_be_said() -> None:
    finished("901_first")
    finished("902_second", seen=False)
    entries = [one.entry() for one in lectures() if one.number > 900]
    text = page([*entries, Entry("904", "Broken", "rlgan x", {}, {}, None, "failed: out of <luck>")])

    class Reader(HTMLParser):
        tags: list[tuple[str, dict[str, str | None]]] = []  # noqa: RUF012 - one reader

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append((tag, dict(attrs)))

    reader = Reader()
    reader.feed(text)
    images = [found["src"] for tag, found in reader.tags if tag == "img"]
    assert images == ["data:image/png;base64," + base64.b64encode(PNG).decode()] * 2
    assert not {"script", "link", "iframe", "b"} & {tag for tag, _ in reader.tags} and "http" not in text
    targets = {found["href"] for tag, found in reader.tags if tag == "a"}
    assert targets == {f"#{found['id']}" for tag, found in reader.tags if tag == "section"}
    assert "1 of 4 claims were seen, 1 not; 2 have no result yet. 3.0 minutes of computing." in text
    for said in ("Something &lt;b&gt;happens", "distance &gt; 0.1", "distance = 0.25", "out of &lt;luck&gt;", "Cevher",
                 "rlgan experiment=lecture/901_first", "Trivedi", "torch 9.9", "not run yet"):  # fmt: skip
        assert said in text
    assert [re.sub(r"<.*?>", "", mark) for mark in re.findall(r'<span class="mark.*?</span>', text)] == ["yes", "no"]


def test_a_folder_that_cannot_be_written_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "outputs").write_text("")
    assert main(["--only", "901"]) == 2
    assert re.match(r"lectures: outputs(/lectures)?: cannot be written \(.*\); make room, ", capsys.readouterr().err)


def test_what_is_running_is_not_removed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished("901_first").folder
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(folder / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        assert main(["--only", "901", "--fresh"]) == 2
        process.kill()
    assert "--fresh: outputs/lectures/901_first is running now" in capsys.readouterr().err
    assert (folder / "figure.png").exists()


@pytest.mark.slow
def test_they_run_and_one_that_fails_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    third = here / "conf/experiment/lecture/903_third.yaml"
    third.write_text(third.read_text().replace("game=simultaneous]", "game=simultaneos]"))
    assert main(["--only", "902", "903", "--jobs", "2"]) == 1
    out = capsys.readouterr().out
    assert "The second: not seen, " in out
    assert "The third: FAILED: compare.variants.simultaneous: game = simultaneos" in out
    text = (here / "outputs/lectures/index.html").read_text()
    assert "failed: compare.variants.simultaneous: game = simultaneos" in text
    assert text.count("<img") == 1 and "Something &lt;b&gt;happens" in text
    before = (here / "outputs/lectures/902_second/simultaneous/metrics.jsonl").read_bytes()
    assert main(["--only", "second", "--redraw"]) == 0
    assert before == (here / "outputs/lectures/902_second/simultaneous/metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_signal_lets_them_save(here: Path) -> None:
    first = here / "conf/experiment/lecture/901_first.yaml"
    first.write_text(
        first.read_text().replace("steps: 6", "steps: 1000000").replace("eval_every: 0", "eval_every: 100")
    )
    command = [sys.executable, str(ROOT / "scripts/lectures.py"), "--only", "901"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        # A shell without job control has what it starts in the background ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    status = here / "outputs/lectures/901_first/simultaneous/metrics.jsonl"
    try:
        while not status.exists() or not status.stat().st_size:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and "The first: stopped; the same command goes on with it" in out
    assert json.loads(status.with_name("status.json").read_text())["state"] == "interrupted"
