"""What a user hooks into any run: callbacks, metrics and pictures of one's own."""

from rlgan.task.hooks.callback import Callback
from rlgan.task.hooks.measures import Measures, Metric, Painter
from rlgan.task.hooks.shipped import EarlyStopping, TimeLimit
