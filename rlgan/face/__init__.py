"""rlgan from Python: `rlgan.load(RUN)`, `rlgan.train("task=ddpg", ...)`, `rlgan.export(RUN, DIR)`."""

from rlgan.face.calls import Call
from rlgan.face.exporting import export
from rlgan.face.loading import load
from rlgan.face.trained import Trained
from rlgan.face.training import train
