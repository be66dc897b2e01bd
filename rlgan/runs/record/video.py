"""Write films of a run: .mp4 files, and moving pictures for TensorBoard."""

import importlib.util
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from rlgan.task.errors import ConfigError
from rlgan.task.task import Video

_STILLS = 128
_WIDTH = 320


def check_installed(key: str = "video = true") -> None:
    """Raise ConfigError, of what was typed, unless the packages that write films are installed."""
    missing = [name for name in ("imageio", "imageio_ffmpeg") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'{key}: not installed: {", ".join(missing)}; pip install "rlgan[video]"')


def write(video: Video, path: Path) -> bytes:
    """Write all frames to `path`, an .mp4 (H.264), as they come, and return a small GIF of them for TensorBoard.

    An existing file is replaced once the new one is whole. The GIF has at most 128 frames of at most 320 pixels'
    width: every second, fourth, ... frame of a longer film.
    """
    import imageio.v2 as imageio
    from PIL import Image

    partial = path.with_name(f".{path.stem}.partial.mp4")
    partial.unlink(missing_ok=True)  # whatever a killed process left there, or somebody's other name of a file
    stills: list[Image.Image] = []
    stride = 1
    # A block size of 2: H.264 wants even sides, and larger blocks would have the picture scaled.
    writer: Any = imageio.get_writer(partial, fps=video.fps, codec="libx264", quality=8, macro_block_size=2)
    try:
        for i, frame in enumerate(video.frames):
            writer.append_data(frame)
            if i % stride == 0:
                still = Image.fromarray(np.ascontiguousarray(frame))
                still.thumbnail((_WIDTH, _WIDTH))
                stills.append(still)
            if len(stills) > _STILLS:
                stills, stride = stills[::2], 2 * stride
    finally:
        writer.close()
    os.replace(partial, path)
    stream = io.BytesIO()
    # GIF counts hundredths of a second.
    pace = max(20, round(1000 * stride / video.fps))
    stills[0].save(stream, format="gif", save_all=True, append_images=stills[1:], duration=pace, loop=0)
    return stream.getvalue()


def show(folder: Path, tag: str, gif: bytes, step: int) -> None:
    """Write a GIF for TensorBoard's page of images, as the only event file of `folder`.

    `SummaryWriter.add_video` writes the same record, but makes the GIF by moviepy.
    """
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter

    for former in folder.glob("events.out.tfevents.*"):
        former.unlink()
    width, height = Image.open(io.BytesIO(gif)).size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
    with SummaryWriter(str(folder)) as writer:
        writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
