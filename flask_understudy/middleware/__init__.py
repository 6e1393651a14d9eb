"""The stack of middleware, in order. `before` hooks run downwards, `after` hooks upwards.

What a job needs before any hook (its application context, `current_job`) and what must survive any hook (its end) is
not middleware: Dramatiq swallows what a hook raises. The broker and the claim see to that, see `claims`.
"""

from dramatiq.middleware import AgeLimit, CurrentMessage, Middleware, Pipelines

from .async_actors import AsyncActors
from .callbacks import Callbacks
from .lifecycle import Lifecycle
from .options import Options
from .retries import Retries
from .shutdown import ShutdownNotifications
from .time_limit import TimeLimit


def stack() -> list[Middleware]:
    """Return new middleware objects in their order, with the reason for each place."""
    return [
        Lifecycle(),  # first: nothing else may start in a process without an application
        Options(),  # declares what else an actor may say
        AgeLimit(),  # before all work: too old is too old
        Callbacks(),  # below Retries in the after phase, so that it sees its verdict
        Pipelines(),  # likewise: a step that is retried has no next step yet
        Retries(),  # decides what a failure means
        CurrentMessage(),  # Dramatiq's own way to reach the message
        AsyncActors(),  # an event loop, once an async actor needs it
        ShutdownNotifications(),  # who wants to be interrupted when the worker stops
        TimeLimit(),  # last, so that its time is the actor's alone
    ]


__all__ = [
    "AsyncActors",
    "Callbacks",
    "Lifecycle",
    "Options",
    "Retries",
    "ShutdownNotifications",
    "TimeLimit",
    "stack",
]
