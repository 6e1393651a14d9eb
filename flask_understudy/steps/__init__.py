"""Durable steps inside an actor: `step.run`, `step.sleep` and the others; see docs/steps.md."""

from .verbs import Steps

#: The steps of the job that this code runs in.
step = Steps()

__all__ = ["Steps", "step"]
