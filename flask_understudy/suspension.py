"""Leaving an actor in the middle, on purpose: what a step raises when the job has to go on another time."""

from __future__ import annotations


class Unwind(BaseException):
    """Ends this claim of the job. No error, so that an actor's `except Exception` does not catch it.

    Args:
        why: For whoever meets it in a traceback.
        exception: What the job is to fail with for now; None = it is suspended.
    """

    def __init__(self, why: str, exception: Exception | None = None) -> None:
        super().__init__(why)
        self.exception = exception


__all__ = ["Unwind"]
