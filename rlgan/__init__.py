"""Wasserstein GANs and deterministic policy gradients as one two-player game on flat parameter vectors.

`load`, `train` and `export` are the command line's work as functions (rlgan.face). They are imported when they are
first used, so that `import rlgan` loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlgan.face import export, load, train

__version__ = "0.1.0"
__all__ = ["__version__", "export", "load", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("rlgan.face"), name)
    raise AttributeError(f"module rlgan has no {name}; it has {', '.join(__all__[1:])}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
