"""The pytest fixture `understudy`, there in every project that has Flask-Understudy installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from .state import KEY, State
from .testing import TestWorker


@pytest.fixture
def understudy(app: Flask) -> Iterator[TestWorker]:
    """Run and look at the jobs of the fixture `app`: `.run()`, `.drain()`, `.sent()`, `.assert_sent()`."""
    state = app.extensions.get(KEY)
    if not isinstance(state, State):
        raise pytest.UsageError("The fixture `app` is no application that jobs.init_app(app) was called for.")
    with TestWorker(state) as worker:
        yield worker
