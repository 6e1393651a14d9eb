"""HTTP APIs in JSON: strict bodies, problems, operations that describe themselves (needs nothing more).

- `Body`, `read_body`, `read_query`, `validated`: what comes in, checked;
- `Instant`, `instant`: times as the API reads and writes them;
- `Problem`, `not_found`, `invalid`, `request_id`, `problems.init_app`: what goes wrong, as RFC 9457 has it;
- `once`: a request with an `Idempotency-Key`, done once;
- `operation`, `document`: views that say what they take and answer, and the OpenAPI document of all of them.
"""

from . import problems
from .bodies import Body, Many, read_body, read_json, read_query, read_raw, validated
from .idempotency import once
from .openapi import Answer, document, operation
from .problems import Problem, invalid, not_found, request_id
from .times import Instant, instant

__all__ = [
    "Answer",
    "Body",
    "Instant",
    "Many",
    "Problem",
    "document",
    "instant",
    "invalid",
    "not_found",
    "once",
    "operation",
    "problems",
    "read_body",
    "read_json",
    "read_query",
    "read_raw",
    "request_id",
    "validated",
]
