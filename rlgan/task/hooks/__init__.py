"""Where users and tasks meet: callbacks, metrics and pictures of one's own; what a task has learnt, to call."""

from rlgan.task.hooks.callback import Callback
from rlgan.task.hooks.function import Function
from rlgan.task.hooks.measures import Measures, Metric, Painter
from rlgan.task.hooks.pruning import Pruning
from rlgan.task.hooks.shipped import EarlyStopping, TimeLimit
