"""Asking what may never answer: a database that is frozen takes statements and says nothing, for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from flask import copy_current_request_context

T = TypeVar("T")

#: s for which probes wait.
SECONDS = 3.0

#: Questions that may hang at a time, each in a thread and perhaps with a connection of its own.
_hanging = threading.BoundedSemaphore(4)


class NoAnswer(Exception):
    """Nothing came in time; the question is left behind in its thread."""


def within(seconds: float, question: Callable[[], T]) -> T:
    """Return the answer to a question, which is asked in a thread with this request's context.

    What the question wants to be done after the request is not done.

    Args:
        seconds: s to wait at the most, first for earlier questions that hang and then for the answer.
        question: Asks; what it raises is raised here.

    Raises:
        NoAnswer: It did not come in time.
    """
    if not _hanging.acquire(timeout=seconds):
        raise NoAnswer(f"earlier questions have hung for more than {seconds:g} s")
    answers: list[T] = []
    problems: list[BaseException] = []

    @copy_current_request_context
    def ask() -> Any:
        try:
            answers.append(question())
        except BaseException as problem:  # raised where it was asked
            problems.append(problem)
        finally:
            _hanging.release()

    thread = threading.Thread(target=ask, name="question", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread can be had
        _hanging.release()
        raise
    thread.join(seconds)
    if problems:
        raise problems[0]
    if not answers:
        raise NoAnswer(f"no answer within {seconds:g} s")
    return answers[0]
