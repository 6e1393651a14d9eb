"""One stream of structured log lines for the service, its workers and the libraries under it.

Everything goes through the standard library's ``logging``; structlog renders it. The life of a job
is four events, with the fields of requirements M01 to M04: ``job added``, ``job processing``,
``job completed`` and ``job failed``.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

import dramatiq
import structlog
from flask import Flask, Response, request
from structlog.typing import EventDict, Processor

from flask_understudy import current_job, signals
from flask_understudy.contrib.api import request_id

log = logging.getLogger("app.jobs")
access = logging.getLogger("app.requests")

#: Longest text of one field, in characters; tracebacks may be longer.
MAX_FIELD = 1_024
MAX_TRACEBACK = 16_384

_SECRET_NAME = re.compile(r"pass|secret|token|api[_-]?key|authorization|cookie|card|cvv|iban|ssn|otp|private", re.I)
_SECRET_VALUE = re.compile(
    r"\b(?:us|uss)_[\w-]{20,}|Bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_ADDRESS = re.compile(r"(?<![\w.+-])([\w.+-])[\w.+-]*@([\w-]+(?:\.[\w-]+)+)")
_MESSAGES = (dramatiq.Message, dramatiq.MessageProxy)
_RECIPIENTS = ("to", "email", "notify_email", "admin_email")


class ServiceHandler(logging.StreamHandler[Any]):
    """The one handler of the service; a second ``init_app`` replaces it."""


def withhold_arguments(record: logging.LogRecord) -> bool:
    """Let a line of Dramatiq's pass without the arguments of the job it speaks of: a logging filter."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            f"{value.actor_name} {value.message_id}" if isinstance(value, _MESSAGES) else value for value in record.args
        )
    return record.msg != "Received args=%r kwargs=%r."


def mask(text: str) -> str:
    """Return ``text`` with the mail addresses in it cut to their first letter and domain."""
    return _ADDRESS.sub(r"\1***@\2", text)


def init_app(app: Flask) -> None:
    """Send the log to standard error and tell it about requests and jobs."""
    shows_addresses = bool(app.config["UNDERSTUDY_LOG_PII"])
    _install(app.config["LOG_FORMAT"], app.config["LOG_LEVEL"], shows_addresses)
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(lambda error: structlog.contextvars.clear_contextvars())
    for signal, receiver in (
        (signals.job_added, job_added),
        (signals.job_started, job_started),
        (signals.job_completed, job_completed),
        (signals.job_failed, job_failed),
    ):
        signal.connect(receiver)


def _install(style: str, level: str, shows_addresses: bool) -> None:
    handler = ServiceHandler(sys.stderr)
    handler.setFormatter(_formatter(style, shows_addresses))
    handler.addFilter(withhold_arguments)
    root = logging.getLogger()
    for old in list(root.handlers):
        # Ours, or the plain one that logging.basicConfig made; never a test's or an agent's.
        if isinstance(old, ServiceHandler) or type(old) is logging.StreamHandler:
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    for name in ("gunicorn.error", "gunicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def _formatter(style: str, shows_addresses: bool) -> structlog.stdlib.ProcessorFormatter:
    is_terminal = sys.stderr.isatty()
    cleaner = _redact if shows_addresses else _redact_and_mask
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _name_job,
        cleaner,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=is_terminal)
        if style == "console" or (style == "auto" and is_terminal)
        else structlog.processors.JSONRenderer(default=str)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _name_job(logger: Any, method: str, event: EventDict) -> EventDict:
    """Say which job a line belongs to, whoever wrote it."""
    if current_job:
        event.setdefault("jobId", current_job.id)
        event.setdefault("attempt", current_job.attempt)
    return event


def _redact(logger: Any, method: str, event: EventDict) -> EventDict:
    """Take secrets out by name and by look, and bound every field (security.md S27, S33)."""
    event.pop("message", None)  # the same text as the event, when another formatter ran first
    for name, value in event.items():
        if name.startswith("_"):
            continue
        if _SECRET_NAME.search(name):
            event[name] = "***"
        elif isinstance(value, str):
            limit = MAX_TRACEBACK if name == "exception" else MAX_FIELD
            event[name] = _SECRET_VALUE.sub("***", value)[:limit]
    return event


def _redact_and_mask(logger: Any, method: str, event: EventDict) -> EventDict:
    event = _redact(logger, method, event)
    for name, value in event.items():
        if isinstance(value, str) and not name.startswith("_"):
            event[name] = mask(value)
    return event


def _begin() -> None:
    request.environ["app.began_at"] = time.monotonic()
    structlog.contextvars.bind_contextvars(requestId=request_id())


def _end(response: Response) -> Response:
    began = request.environ.get("app.began_at")
    level = logging.DEBUG if request.path.startswith("/api/health") else logging.INFO
    access.log(
        level,
        "request",
        extra={
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "duration": round((time.monotonic() - began) * 1_000) if began else None,
        },
    )
    return response


def job_added(sender: Any, job: Any) -> None:
    """Log M01: ``{jobId, queue, to}``."""
    fields = _identity(job)
    if recipient := _recipient(job.args, job.kwargs):
        fields["to"] = recipient
    log.info("job added", extra=fields)


def job_started(sender: Any, job: Any) -> None:
    """Log M02: ``{jobId, queue, status}``."""
    log.info("job processing", extra=_identity(job) | {"status": "processing"})


def job_completed(sender: Any, job: Any) -> None:
    """Log M03: ``{jobId, queue, status, duration}``, the duration in milliseconds."""
    ended = {"status": "completed", "duration": job.duration_ms}
    log.info("job completed", extra=_identity(job) | ended)


def job_failed(sender: Any, job: Any) -> None:
    """Log M04: ``{jobId, queue, status, error, attempts}``; a warning while a retry follows."""
    ended = {
        "status": "failed",
        "error": job.error,
        "attempts": job.attempt,
        "duration": job.duration_ms,
        "willRetry": job.will_retry,
    }
    level = logging.WARNING if job.will_retry else logging.ERROR
    log.log(level, "job failed", extra=_identity(job) | ended)


def _identity(job: Any) -> dict[str, Any]:
    known = {"jobId": job.id, "queue": job.queue, "actor": job.actor}
    return known | ({"tenant": job.tenant} if job.tenant else {})


def _recipient(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Return whom a mail job is for: a named argument, else the first that is an address."""
    named = (kwargs[name] for name in _RECIPIENTS if kwargs.get(name))
    found = next(named, None) or next((value for value in args[:1] if isinstance(value, str) and "@" in value), None)
    if isinstance(found, list | tuple):
        return ", ".join(str(entry) for entry in found[:10])
    return str(found) if found else None
