"""What is said to somebody who asks too often."""

from __future__ import annotations

import math
import time

from flask import Flask, Response
from flask_limiter import RateLimitExceeded

from app.extensions import RETRY_AFTER, limiter
from flask_understudy.contrib.api import Problem


def init_app(app: Flask) -> None:
    """Limit the routes of ``app`` that say so, and answer 429 with the time to wait."""
    app.after_request(_no_hint_to_wait)
    limiter.init_app(app)
    app.register_error_handler(RateLimitExceeded, _too_many)


def is_accepted(response: Response) -> bool:
    """Say whether a request did something: those that were refused need not count."""
    return response.status_code < 400


def _no_hint_to_wait(response: Response) -> Response:
    """Drop the limiter's hint, which every answer gets: on a 202 it would mean that the answer is ready only then.

    Refusals say by themselves when to come back: a 429 when the limit allows it, a 503 when the database may answer.
    """
    response.headers.pop(RETRY_AFTER, None)
    return response


def _too_many(error: RateLimitExceeded) -> Response:
    limit, seconds = limiter.current_limit, 60
    if limit is not None:  # the limiter rounds up to the next second: never say more than the whole span
        seconds = min(max(1, math.ceil(limit.reset_at - time.time())), limit.limit.get_expiry())
    detail = f"Only {error.description} are accepted here from one address. Try again in {_shown(seconds)}."
    return Problem(429, detail=detail, headers={"Retry-After": str(seconds)}).response()


def _shown(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{math.ceil(seconds / 60)} minutes"
