"""Pictures as files and as arrays."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rlgan.task.task import Picture


def picture_name(tag: str) -> str:
    """Make a file name of a tag."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", tag)


def rasterise(picture: Picture) -> tuple[bytes, np.ndarray]:
    """Convert a picture to PNG bytes and to a uint8 array (height, width, channels).

    Args:
        picture: a matplotlib figure, or a uint8 array (height, width) or (height, width, 1 or 3 or 4).

    Raises:
        ValueError: an array of another dtype or shape, or something else.
    """
    from PIL import Image

    stream = io.BytesIO()
    if isinstance(picture, np.ndarray):
        array = picture if picture.ndim == 3 else picture[..., None]
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3, 4):
            raise ValueError(f"picture = {picture.dtype} {picture.shape}: must be uint8 (height, width, 1 or 3 or 4)")
        Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(stream, format="png")
        return stream.getvalue(), array
    if not hasattr(picture, "savefig"):
        kind = type(picture).__name__
        raise ValueError(f"picture = {kind}: must be a matplotlib figure or a uint8 array (height, width, channels)")
    picture.savefig(stream, format="png", dpi=100)
    stream.seek(0)
    return stream.getvalue(), np.asarray(Image.open(stream).convert("RGB"))
