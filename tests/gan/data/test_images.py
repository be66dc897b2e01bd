"""Images of one's own: what is read, how it is said, what is refused, and that workers decide nothing."""

import io
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rlgan.gan.data import ArrayFile, Digits, Folder, HuggingFace, Images
from rlgan.gan.metrics.classifier import Classifier
from rlgan.gan.wgan import WGAN
from rlgan.nets import MLPSpec
from rlgan.reading.split import split
from rlgan.runs.cli import main
from rlgan.task.errors import InputError
from tests.gan.small import assert_same, make, train, vectors


def pixels(n: int = 10, side: int = 8, channels: int = 3) -> np.ndarray:
    """(n, side, side, channels), uint8; every image another."""
    return np.random.default_rng(0).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def write(folder: Path, images: np.ndarray, suffix: str = "png") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{i:03d}.{suffix}")
    return folder


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, allow_pickle=True, **arrays)
    return path


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def expected(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 127.5 - 1


def whole(data: Images) -> Tensor:
    return data.read(torch.arange(data.total))


# --- what is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_pngs_and_an_array_are_the_same_data(tmp_path: Path, channels: int) -> None:
    images = pixels(channels=channels)
    folder = Folder(path=write(tmp_path / "png", images))
    array = ArrayFile(path=save(tmp_path / "a.npz", images=images))
    for data in (folder, array):
        assert data.shape == (channels, 8, 8) and data.total == 10 and 2 <= data.size <= 8 and data.images
        assert torch.equal(whole(data), expected(images))
        x = data.sample(50, generator())
        assert x.dtype == torch.float32 and x.shape == (50, channels, 8, 8)
        assert x.min() >= -1 and x.max() <= 1
        assert torch.equal(data.training(), expected(images)[~torch.isin(torch.arange(10), data._part(1, None))])
        (note,) = data.notes()
        held = data.total - data.size
        assert note == f"10 images 8x8x{channels}, uint8 0..255 read as [-1, 1]; {held} of them held out; in memory"


@pytest.mark.parametrize(
    ("make", "reading", "tolerance"),
    [
        (lambda u: u, "uint8 0..255", 0.0),
        (lambda u: (u / 255).astype(np.float32), "float32 0..1", 0.0),
        (lambda u: u / 127.5 - 1, "float64 -1..1", 1e-6),
        (lambda u: u.transpose(0, 3, 1, 2), "uint8 0..255", 0.0),
    ],
)
def test_arrays_of_every_range_and_layout_are_read_as_the_same_images(
    tmp_path: Path, make: Callable[[np.ndarray], np.ndarray], reading: str, tolerance: float
) -> None:
    images = pixels()
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    np.save(tmp_path / "a.npy", make(images))
    data = ArrayFile(path=tmp_path / "a.npy")
    assert (whole(data) - expected(images)).abs().max() <= tolerance
    assert f"{reading} read as [-1, 1]" in data.notes()[0]


def test_grey_arrays_need_no_channel_and_a_range_may_be_said(tmp_path: Path) -> None:
    images = pixels(channels=1)
    counts = images[..., 0].astype(np.int32) * 4
    np.save(tmp_path / "a.npy", counts)
    data = ArrayFile(path=tmp_path / "a.npy", value_range=(0.0, 1020.0))
    assert torch.equal(whole(data), expected(images))
    assert "int32 0..1020 read as [-1, 1]" in data.notes()[0]


def test_jpegs_below_a_folder_count_and_other_files_do_not(tmp_path: Path) -> None:
    write(tmp_path / "in", pixels(3))
    write(tmp_path / "in" / "below", pixels(4), "JPG")
    (tmp_path / "in" / "readme.txt").write_text("not an image")
    assert Folder(path=tmp_path / "in").total == 7


def test_side_crops_the_middle_and_resizes(tmp_path: Path) -> None:
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 200  # the middle square
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(wide).save(folder / "a.png")
    Image.fromarray(np.full((20, 20, 3), 200, np.uint8)).save(folder / "b.png")
    data = Folder(path=folder, side=4, held_out=0.0)
    assert data.shape == (3, 4, 4)
    torch.testing.assert_close(whole(data), torch.full((2, 3, 4, 4), 200 / 127.5 - 1))


def test_grey_files_among_colour_are_made_colour(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", pixels(2))
    Image.fromarray(pixels(1, channels=1)[0, ..., 0]).save(folder / "grey.png")
    data = Folder(path=folder, held_out=0.0)
    grey = whole(data)[2]
    assert data.shape[0] == 3 and torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])


def test_grey_pictures_in_files_of_colour_may_be_read_as_grey(tmp_path: Path) -> None:
    grey = pixels(20, channels=1)
    write(tmp_path / "in", grey.repeat(3, -1))
    data, told = Folder(path=tmp_path / "in"), Folder(path=tmp_path / "in", channels=1)
    assert data.shape == (3, 8, 8) and data.notes()[-1].endswith("data.channels=1 reads them as grey")
    assert told.shape == (1, 8, 8) and len(told.notes()) == 1
    assert torch.equal(whole(told), expected(grey)) and torch.equal(whole(data)[:, 2:], whole(told))
    assert Folder(path=write(tmp_path / "grey", grey), channels=3).shape == (3, 8, 8)
    with pytest.raises(ValueError, match=r"^channels = 2: must be 1 for grey or 3"):
        Folder(path=tmp_path / "in", channels=2)


def test_data_that_changed_on_disk_are_read_again(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=pixels(10))
    assert ArrayFile(path=path).total == 10
    save(path, x=pixels(12))
    assert ArrayFile(path=path).total == 12


# --- what is refused -----------------------------------------------------------------------------------------------


def _corrupt(tmp_path: Path) -> Images:
    folder = write(tmp_path / "in", pixels(3))
    file = folder / "001.png"
    file.write_bytes(file.read_bytes()[:60])
    return Folder(path=folder)


def _no_image(tmp_path: Path) -> Images:
    folder = write(tmp_path / "in", pixels(3))
    (folder / "001.png").write_bytes(b"GIF? no")
    return Folder(path=folder)


def _empty_file(tmp_path: Path) -> Images:
    folder = write(tmp_path / "in", pixels(3))
    (folder / "002.png").write_bytes(b"")
    return Folder(path=folder)


def _mixed(tmp_path: Path) -> Images:
    folder = write(tmp_path / "in", pixels(3))
    Image.fromarray(pixels(1, 9)[0]).save(folder / "zzz.png")
    return Folder(path=folder)


def _sixteen_bits(tmp_path: Path) -> Images:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(folder / "deep.png")
    return Folder(path=folder)


def _no_images(tmp_path: Path) -> Images:
    (tmp_path / "in").mkdir()
    return Folder(path=tmp_path / "in")


def _array(**arrays: Any) -> Callable[[Path], Images]:
    return lambda tmp_path: ArrayFile(path=save(tmp_path / "a.npz", **arrays))


def _bytes(content: bytes, name: str = "a.npz") -> Callable[[Path], Images]:
    def make(tmp_path: Path) -> Images:
        (tmp_path / name).write_bytes(content)
        return ArrayFile(path=tmp_path / name)

    return make


def _truncated(tmp_path: Path) -> Images:
    path = save(tmp_path / "a.npz", x=pixels())
    path.write_bytes(path.read_bytes()[:500])
    return ArrayFile(path=path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_corrupt, r"^path = .*001\.png: cannot be read \(.+\); replace or remove"),
        (_no_image, r"^path = .*001\.png: cannot be read \(no image that Pillow knows\)"),
        (_empty_file, r"^path = .*002\.png: the file is empty; remove it"),
        (_mixed, r"^path = .*zzz\.png: is 9x9 pixels and 000\.png is 8x8; .*side=32"),
        (_sixteen_bits, r"^path = .*deep\.png: pixels of mode I;16 are not 8 bits .*; convert"),
        (_no_images, r"^path = .*in: holds no pictures that Pillow reads; give"),
        (lambda p: Folder(path=p / "none"), r"^path = .*none: there is no such folder"),
        (lambda p: ArrayFile(path=p / "none.npz"), r"^path = .*none.npz: there is no such file"),
        (_bytes(b""), r"^path = .*a.npz: the file is empty"),
        (_bytes(b"hello", "a.npy"), r"^path = .*a.npy: cannot be read as .npy or .npz \(.+\); save it again"),
        (_truncated, r"^path = .*a.npz: cannot be read as .npy or .npz"),
        (_array(x=np.array([{"a": 1}])), r"^path = .*a.npz: cannot be read .*pickle"),
        (_array(x=pixels(), y=pixels()), r"^key = null: a.npz holds x, y; say which"),
        (_array(x=np.zeros((0, 8, 8, 3), np.uint8)), r"^path = .*a.npz: an array of shape \(0, 8, 8, 3\) holds no"),
        (_array(x=np.zeros((5, 7), np.uint8)), r"^path = .*shape \(5, 7\) is no batch of images"),
        (_array(x=np.zeros((5, 8, 8, 4), np.uint8)), r"^path = .*shape \(5, 8, 8, 4\) is no batch of images"),
        (_array(x=np.array(3.0)), r"^path = .*shape \(\) holds no images"),
        (_array(x=np.zeros((5, 8, 8), bool)), r"^path = .*dtype bool is no image's"),
        (_array(x=np.full((5, 8, 8), np.nan)), r"^path = .*holds nan or inf"),
        (_array(x=np.full((5, 8, 8), 7.0)), r"^path = .*float64 values from 7 to 7 are neither .*value_range"),
        (_array(x=np.full((5, 8, 8), -3)), r"^path = .*int64 values from -3 to -3 are neither .*value_range"),
        (_array(x=np.eye(8, dtype=np.uint8)[None]), r"^path = .*uint8 values from 0 to 1 would all be black"),
    ],
)
def test_what_cannot_be_used_is_said_with_the_files_name(
    tmp_path: Path, make: Callable[[Path], Images], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path).sample(4, generator())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: ArrayFile(path=path, key="z"), r"^key = z: a.npz holds x, y; choose one"),
        (lambda path: ArrayFile(path=path, key="x", value_range=(0.0, 9.0)), r"^path = .*outside of value_range = \[0"),
        (lambda path: ArrayFile(path=path, key="x", value_range=(1.0, 1.0)), r"^value_range = \[1.0, 1.0\]: must"),
        (lambda path: ArrayFile(path=path, key="x", held_out=0.99), r"^held_out = 0.99: leaves none of 10 images"),
        (lambda path: ArrayFile(path=path, key="x", workers=-1), r"^workers = -1: "),
        (lambda path: ArrayFile(path=path, key="x", memory_mb=-1), r"^memory_mb = -1: "),
        (lambda path: Folder(side=0), r"^side = 0: "),
        (lambda path: Folder().shape, r"^data.path = null: has to be given"),
        (lambda path: HuggingFace().shape, r"^data.name = null: has to be given"),
    ],
)
def test_impossible_options_name_themselves(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    path = save(tmp_path / "a.npz", x=pixels(), y=pixels())
    with pytest.raises(ValueError, match=message):
        make(path)


# --- large sets ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Folder, Folder]]:
    """The same folder in memory, and decoded by two workers."""
    path = write(tmp_path / "in", pixels(40, 4))
    large = Folder(path=path, memory_mb=0, workers=2)
    yield Folder(path=path), large
    large.close()


def test_workers_draw_what_memory_draws_and_only_decode(pair: tuple[Folder, Folder]) -> None:
    """With other draws between, a generator put back in the middle, and torch's global generator untouched."""
    memory, large = pair
    state = torch.get_rng_state()
    ours, theirs, other = generator(), generator(), generator(5)
    for step in range(8):
        assert torch.equal(memory.sample(6, ours), large.sample(6, theirs))
        if step == 4:
            assert large._decoders._batches is not None
            assert torch.equal(memory.sample(9, generator(5)), large.sample(9, other))
            saved = theirs.get_state()
    assert torch.equal(ours.get_state(), theirs.get_state())
    ours.set_state(saved)
    theirs.set_state(saved)
    for _ in range(3):
        assert torch.equal(memory.sample(6, ours), large.sample(6, theirs))
    assert torch.equal(torch.get_rng_state(), state)
    assert "decoded by 2 workers as they are drawn" in large.notes()[0]
    assert torch.equal(memory.unseen(), large.unseen())


def test_what_workers_fetched_ahead_is_used(pair: tuple[Folder, Folder], monkeypatch: pytest.MonkeyPatch) -> None:
    _, large = pair
    g = generator()
    large.sample(6, g)
    large.sample(6, g)
    monkeypatch.setattr(type(large.source), "rows", None)  # from now on this process cannot decode
    assert large.sample(6, g).shape == (6, 3, 4, 4)
    with pytest.raises(TypeError):
        large.sample(7, g)


def test_a_run_on_decoded_images_goes_on_bit_for_bit(pair: tuple[Folder, Folder]) -> None:
    """From a checkpoint, in a new process as it were: other workers, the same draws; and as from memory."""
    memory, large = pair
    straight = train(make(data=large), 5)
    saved = io.BytesIO()
    torch.save(straight.state_dict(), saved)
    train(straight, 4)
    saved.seek(0)
    fresh = Folder(path=large.path, memory_mb=0, workers=2)
    resumed = make(data=fresh)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    train(resumed, 4)
    assert_same(vectors(straight), vectors(resumed))
    assert_same(vectors(straight), vectors(train(make(data=memory), 9)))
    resumed.close()


def test_a_fault_in_a_worker_names_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", pixels(4, 64))
    data = Folder(path=folder, memory_mb=0, workers=1, held_out=0.0)
    file = folder / "002.png"
    file.write_bytes(file.read_bytes()[:2000])  # its header can still be read
    g = generator()
    with pytest.raises(
        InputError, match=r"^path = \S+002\.png: has changed since the start of the run; put it back"
    ) as e:
        for _ in range(20):
            data.sample(2, g)
    assert e.value.intact and "\n" not in str(e.value)
    data.close()


@pytest.mark.parametrize("at", [0, 4])
def test_a_run_that_meets_a_bad_file_is_as_it_was_after_its_last_step(tmp_path: Path, at: int) -> None:
    """Its streams too, though some minibatches of the step at fault were drawn: with the file back it goes on."""
    folder = write(tmp_path / "in", pixels(12, 4))

    def task() -> WGAN:
        return make(data=Folder(path=folder, memory_mb=0, workers=0, held_out=0.0), batch_size=4)

    straight, struck = train(task(), 8), train(task(), at)
    files = {file: file.read_bytes() for file in folder.iterdir()}
    for file in list(files)[::3]:
        file.write_bytes(files[file][:50])
    with pytest.raises(InputError, match=r"^path = \S+png: has changed") as e:
        train(struck, 8 - at)
    assert e.value.intact and at <= struck.steps_done < 8
    saved = io.BytesIO()
    torch.save(struck.state_dict(), saved)
    for file, content in files.items():
        file.write_bytes(content)
    saved.seek(0)
    resumed = task()
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    assert_same(vectors(straight), vectors(train(resumed, 8 - resumed.steps_done)))


# --- too little, and known again -----------------------------------------------------------------------------------


def test_one_picture_is_refused_and_two_can_be_trained_on_and_measured(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", pixels(1))
    with pytest.raises(ValueError, match=r"^path = \S+in: holds one image, .* give at least two"):
        Folder(path=folder)
    write(folder, pixels(2))
    task = train(make(data=Folder(path=folder), batch_size=2), 2, every=1)
    assert "holds out 0 of 2, and what tells copying from learning needs two" in "\n".join(task.notes())
    assert all(math.isfinite(value) for value in task.examine(64).metrics.values())


@pytest.mark.parametrize(("n", "share"), [(3, 0.2), (3, 0.6), (5, 0.5), (12, 0.05), (9, 0.8), (8, 0.2)])
def test_of_few_images_some_are_held_out_and_two_are_left(tmp_path: Path, n: int, share: float) -> None:
    data = Folder(path=write(tmp_path / "in", pixels(n)), held_out=share)
    assert min(2, round(share * n), n - 2) <= data.total - data.size <= n - 2


@pytest.mark.parametrize(("share", "n"), [(0.2, 4000), (0.05, 4000), (0.5, 4000)])
def test_the_share_is_held_out_of_many(share: float, n: int) -> None:
    kept, apart = split((f"{i:05d}.png".encode() for i in range(n)), share)
    assert abs(len(apart) - share * n) < 4 * math.sqrt(share * (1 - share) * n)
    assert torch.equal(torch.cat((kept, apart)).sort().values, torch.arange(n))


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_batch_norm_of_one_vector_is_refused_by_name(player: str) -> None:
    networks: dict[str, Any] = {player: MLPSpec(hidden=(8,), norm="batch")}
    with pytest.raises(ValueError, match=rf"^batch_size = 1: the {player} has batch norm, .*; use batch_size=2"):
        make(batch_size=1, **networks)
    train(make(batch_size=2, **networks), 2)
    train(make(batch_size=1), 2)


def test_a_task_says_what_it_reads(tmp_path: Path) -> None:
    data = Folder(path=write(tmp_path / "in", pixels()))
    assert make(data=data, batch_size=4).inputs() == data.inputs() != {}
    assert make().inputs() == Digits().inputs() == {}


# --- as a user types it --------------------------------------------------------------------------------------------

QUICK = (
    "batch_size=2",
    "steps=2",
    "compile=false",
    "progress=false",
    "tensorboard=false",
    "eval_every=0",
    "log_every=0",
)
NETWORKS = ("network@generator.network=mlp", "network@critic.network=mlp")


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int | str | None, str]:
    """The exit code of a command, and all that it printed."""
    with pytest.raises(SystemExit) as end:
        main(words)
    printed = capsys.readouterr()
    return end.value.code, printed.out + printed.err


def test_a_run_that_goes_on_or_is_measured_with_other_pictures_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also from another folder, which finds the same pictures."""
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "in", pixels(8, 4))
    code, said = typed(capsys, "data=folder", "data.path=in", "run_dir=run", *NETWORKS, *QUICK)
    assert not code and "8 images 4x4x3" in said
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    code, said = typed(capsys, f"resume={tmp_path}/run", "steps=3")
    assert not code and "data.path was" not in said
    Image.fromarray(pixels(1, 4)[0]).save(folder / "new.png")
    for words in (("evaluate", f"{tmp_path}/run", "n=64"), (f"resume={tmp_path}/run", "steps=4")):
        code, said = typed(capsys, *words)
        assert not code and re.search(r"data.path was 8 pictures, .* and is 9 pictures, ", said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data=folder", "data.path=one"), r"data.path = \S+one: holds one image, "),
        (("data=array", "data.path=a.npy"), r"data.path = \S+a.npy: an array of shape \(8, 9, 3\) may be 8 grey"),
        (("data=digits", "batch_size=1"), r"batch_size = 1: the generator has batch norm"),
        (
            ("data=folder", "data.path=five", "batch_size=64"),
            r"batch_size = 64: larger than the data set \(4 samples to train on, 1 held out; passed over: 2 broken",
        ),
    ],
)
def test_what_is_refused_is_refused_at_the_start_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "one", pixels(1))
    write(tmp_path / "five", pixels(5))
    for name in ("x.png", "y.png"):
        (tmp_path / "five" / name).symlink_to(tmp_path / "nowhere" / name)
    np.save(tmp_path / "a.npy", np.zeros((8, 9, 3), np.uint8))
    own = NETWORKS if words[0] != "data=digits" else ()
    quick = [word for word in QUICK if word.partition("=")[0] not in {w.partition("=")[0] for w in words}]
    code, said = typed(capsys, *words, *own, *quick)
    assert code == 2 and re.search(rf"^rlgan: {message}", said, re.MULTILINE) and "Traceback" not in said


# --- data sets by name ---------------------------------------------------------------------------------------------


class Rows:
    """What `datasets.load_dataset` returns, as far as it is used."""

    def __init__(self, images: list[Any], **features: str) -> None:
        self._images = images
        self.features = {name: type(kind, (), {})() for name, kind in features.items()}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return dict.fromkeys(self.features, self._images[i])


def named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: Callable[..., Any]) -> str:
    """A library `datasets` that answers, and a name that was not asked for before."""
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=answer))
    return str(tmp_path)


def test_a_data_set_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = pixels()
    asked: list[Any] = []

    def answer(*args: Any, **options: Any) -> Rows:
        asked.append((args, options))
        return Rows([Image.fromarray(image) for image in images], image="Image", label="ClassLabel")

    name = named(monkeypatch, tmp_path, answer)
    data = HuggingFace(name=name, config="plain", split="test")
    assert torch.equal(whole(data), expected(images))
    assert asked == [((name, "plain"), {"split": "test"})]
    assert "10 images 8x8x3" in data.notes()[0]


@pytest.mark.parametrize(
    ("images", "features", "options", "message"),
    [
        ([], {"image": "Image"}, {}, r"^split = train: holds no images"),
        (["i"], {"a": "Image", "b": "Image"}, {}, r"^column = null: .* has image columns \['a', 'b'\]; say which"),
        (["i"], {"a": "Image"}, {"column": "b"}, r"^column = b: .* has image columns \['a'\]; choose"),
        ([None], {"a": "Image"}, {}, r"^name = .*: image 0 is missing"),
    ],
)
def test_a_data_set_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: list[Any], features: Any, options: Any, message: str
) -> None:
    name = named(monkeypatch, tmp_path, lambda *a, **k: Rows(images, **features))
    with pytest.raises(ValueError, match=message):
        HuggingFace(name=name, **options)


class Encoded(Rows):
    """The same with files in it, as the library has them where they are not decoded; their bytes, or where they are."""

    _fingerprint = "f1n6e2"

    def cast_column(self, column: str, feature: Any) -> "Encoded":
        assert column == "image" and feature.decode is False
        return self

    def __getitem__(self, i: int) -> dict[str, Any]:
        found = self._images[i]
        file = {"bytes": None, "path": str(found)} if isinstance(found, Path) else {"bytes": found, "path": None}
        return {"image": file}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def of_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: list[Any], **options: Any) -> HuggingFace:
    library = SimpleNamespace(load_dataset=lambda *a, **k: Encoded(files, image="Image"), Image=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "datasets", library)
    return HuggingFace(name=f"{tmp_path}/{len(files)}", **{"held_out": 0.0, "workers": 0, **options})


def test_files_of_a_data_set_are_read_as_they_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lying = Image.fromarray(pixels(1)[0][:4])
    exif = lying.getexif()
    exif[0x0112] = 6
    clear = Image.new("LA", (4, 8), (9, 0))
    clear.save(tmp_path / "clear.png")
    files = [encoded(Image.new("L", (4, 8), 7)), encoded(lying, exif=exif), tmp_path / "clear.png"]
    data = of_files(monkeypatch, tmp_path, files)
    seen = ((whole(data) + 1) * 127.5).round().byte()
    assert data.shape == (3, 8, 4) and seen[0].eq(7).all() and seen[2].eq(255).all()
    assert np.array_equal(seen[1].permute(1, 2, 0).numpy(), np.rot90(pixels(1)[0][:4], -1))
    assert [note.partition(" images ")[2] for note in data.notes()[1:]] == [
        "have transparency, and are put on white (data.background)",
        "are turned as their EXIF orientation says",
    ]
    assert data.inputs() == {"data.name": "3 rows, fingerprint of the library f1n6e2"}


def test_files_of_a_data_set_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = encoded(Image.fromarray(pixels(1, 64)[0]))
    deep = encoded(Image.fromarray(np.full((64, 64), 4000, np.uint16)))
    cases: list[tuple[list[Any], str]] = [
        ([good, deep], r"image 1: pixels of mode I;16 are not 8 bits"),
        ([good, good[:2000]], r"image 1: cannot be read \(.+\); replace"),
        ([good, tmp_path / "gone.png"], r"image 1: cannot be read \(.+No such file"),
        ([good, None], r"image 1 is missing"),
        ([good], r"holds one image"),
    ]
    for i, (files, message) in enumerate(cases):
        with pytest.raises(ValueError, match=rf"^name = \S+: {message}"):
            of_files(monkeypatch, tmp_path / str(i), files)
        if len(files) > 1:
            with pytest.raises(InputError, match=message) as e:
                of_files(monkeypatch, tmp_path / str(i), files, memory_mb=0).sample(9, generator())
            assert e.value.intact


def test_rows_that_are_appended_move_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def held(n: int) -> set[int]:
        files = [encoded(Image.fromarray(image)) for image in pixels(n)]
        return set(of_files(monkeypatch, tmp_path, files, held_out=0.2)._split[1].tolist())

    assert len(held(40)) >= 2 and held(60) & set(range(40)) == held(40)


def test_a_data_set_of_mixed_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = [Image.new("RGB", (4, 4)), Image.new("RGB", (5, 4))]
    name = named(monkeypatch, tmp_path, lambda *a, **k: Rows(images, image="Image"))
    with pytest.raises(ValueError, match=r"image 1 is 5x4 pixels and image 0 is 4x4; set side"):
        whole(HuggingFace(name=name, held_out=0.0))
    assert HuggingFace(name=name, side=4, held_out=0.0).shape == (3, 4, 4)


def test_without_the_library_or_a_network_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*args: Any, **options: Any) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    name = named(monkeypatch, tmp_path, offline)
    with pytest.raises(ValueError, match=r"^name = .* cannot be loaded \(ConnectionError: Couldn't .*; without a net"):
        HuggingFace(name=name)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"^name = .*: needs the library datasets, .*rlgan\[images\]"):
        HuggingFace(name=name)


# --- in which features -----------------------------------------------------------------------------------------------


def test_features_follow_labels_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("rlgan.gan.metrics.classifier._STEPS", 2)
    small = Folder(path=write(tmp_path / "small", pixels(4)))
    large = Folder(path=write(tmp_path / "large", pixels(4, side=9)))
    assert (small.extractor.name, large.extractor.name) == ("pixels", "random_convolutions")
    assert large.notes()[1] == "images are compared in the features random_convolutions (data.features)"
    assert Folder(path=tmp_path / "large", features="pixels").extractor.name == "pixels"
    for name in ("cats", "dogs"):
        write(tmp_path / "labelled" / name, pixels(25))
    labelled = Folder(path=tmp_path / "labelled")
    assert isinstance(labelled.extractor, Classifier) and list(labelled.extractor.classes) == ["cats", "dogs"]
    assert labelled.notes()[1].endswith("features classifier (data.features), taught on 2 classes: cats, dogs")
    assert set(labelled.measure(labelled.training())) == {
        "classes/confident",
        "classes/covered",
        "classes/smallest_share",
    }
    (tmp_path / "labelled" / "loose.png").write_bytes((tmp_path / "labelled" / "cats" / "000.png").read_bytes())
    assert Folder(path=tmp_path / "labelled").extractor.name == "pixels"


def test_folders_that_are_parts_or_hold_little_are_no_classes(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write(tmp_path / "parts" / name, pixels(25))
    for name in ("a", "b", "c"):
        write(tmp_path / "few" / name, pixels(10))
    for name in ("parts", "few"):
        assert Folder(path=tmp_path / name).extractor.name == "pixels"
        with pytest.raises(ValueError, match=r"^features = classifier: there are no labels"):
            Folder(path=tmp_path / name, features="classifier")


def test_labels_may_lie_beside_an_array(tmp_path: Path) -> None:
    images, y = pixels(60), np.arange(60) % 3
    data = ArrayFile(path=save(tmp_path / "a.npz", images=images, y=y), key="images")
    assert isinstance(data.extractor, Classifier) and list(data.extractor.classes) == ["0", "1", "2"]
    for other in ({"y": y[:50]}, {"y": y / 2}, {"y": y, "labels": y}, {"of": y}):
        data = ArrayFile(path=save(tmp_path / "b.npz", images=images, **other), key="images")
        assert data.extractor.name == "pixels"


def test_labels_of_a_data_set_are_those_of_its_only_column_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = [Image.fromarray(image) for image in pixels(40)]

    class Labelled(Rows):
        def __init__(self) -> None:
            super().__init__(images, image="Image", label="ClassLabel")
            self.features["label"].names = ["no", "yes"]

        def __getitem__(self, i: Any) -> Any:
            return [k % 2 for k in range(40)] if i == "label" else super().__getitem__(i)

    name = named(monkeypatch, tmp_path, lambda *args, **options: Labelled())
    data = HuggingFace(name=name)
    assert isinstance(data.extractor, Classifier) and list(data.extractor.classes) == ["no", "yes"]
