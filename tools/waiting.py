"""Waiting for a fact instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(fact: Callable[[], T], what: str, *, timeout_seconds: float = 10.0, every_seconds: float = 0.01) -> T:
    """Ask `fact` again and again until its answer is truthy, and return that answer.

    Args:
        fact: What to ask; an exception it raises is not caught.
        what: What is being waited for, used in the error: "the worker to start".
        timeout_seconds: How long to go on asking.
        every_seconds: The pause between two questions.

    Raises:
        TimeoutError: The deadline passed; the message has `what` and the last answer.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout_seconds:g} s for {what}; last answer: {answer!r}")
        time.sleep(every_seconds)
