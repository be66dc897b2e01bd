"""Which samples are held out: by a hash of what names each, so that the others stay where they are."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def split(keys: Iterable[bytes], held_out: float) -> tuple[Tensor, Tensor]:
    """Indices ``(n - h,)`` to train on and ``(h,)`` to hold out, ascending, by a hash of each sample's key alone.

    So samples that are added or taken away move no other. It makes h about held_out n, with a deviation of
    sqrt(held_out (1 - held_out) n). Only of few samples are the next ones in the order of the hash taken too, or left:
    two are held out where their share would be as many, and two are left to train on.
    """
    hashes = [int.from_bytes(hashlib.sha256(b"held out " + key).digest()[:8], "big") for key in keys]
    n, below = len(hashes), sum(h < held_out * 2**64 for h in hashes)
    order = torch.tensor(sorted(range(n), key=hashes.__getitem__), dtype=torch.int64)
    h = min(max(below, min(2, round(held_out * n))), max(n - 2, 0))
    return order[h:].sort().values, order[:h].sort().values
