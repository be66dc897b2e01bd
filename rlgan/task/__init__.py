"""The interface of a task: it trains step by step, measures itself, draws itself and can be saved.

`rlgan.task.seeding.Generators` is not among the names here: it loads torch, and these do not.
"""

from rlgan.task.errors import CheckpointError, ConfigError, Diverged, InputError, RunError
from rlgan.task.hooks import Callback, EarlyStopping, Metric, Painter, Pruning, TimeLimit
from rlgan.task.hooks.function import Function
from rlgan.task.settings import Settings
from rlgan.task.sink import Opening, Sink
from rlgan.task.task import Examination, Picture, Play, Request, Stackable, Task, Together, Video, drive
