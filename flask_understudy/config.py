"""Every setting of the library, read once at `init_app`.

A value comes from the environment, else from `app.config`, else from the default here (requirements H16, H17).
An unknown `UNDERSTUDY_*` key, or a value of the wrong type, is refused with the key, the value and what would do.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from .errors import ConfigError
from .policy import QueuePolicy, policies_of

logger = logging.getLogger("flask_understudy")

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
SHORTEST_LEASE = 0.5


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("true or false")


def _whole(minimum: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        wanted = f"a whole number, {minimum} or more"
        if isinstance(value, bool):
            raise ValueError(wanted)
        try:
            number = int(str(value).strip()) if not isinstance(value, int) else value
        except ValueError:
            raise ValueError(wanted) from None
        if number < minimum:
            raise ValueError(wanted)
        return number

    return read


def _seconds(value: Any) -> float:
    wanted = "a number of seconds above 0"
    if isinstance(value, timedelta):
        value = value.total_seconds()
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(wanted) from None
    if not 0 < number < 1e9:
        raise ValueError(wanted)
    return number


def _share(value: Any) -> float:
    wanted = "a share above 0 and up to 1, such as 0.1"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(wanted) from None
    if isinstance(value, bool) or not 0 < number <= 1:
        raise ValueError(wanted)
    return number


def _lease(value: Any) -> float:
    seconds = _seconds(value)
    if seconds < SHORTEST_LEASE:
        raise ValueError(f"{SHORTEST_LEASE} s or more: a worker that is merely busy would be taken for dead")
    return seconds


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value)

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _path(value: Any) -> str:
    if not isinstance(value, str) or (value and not re.fullmatch(r"(/[\w.~-]+)+", value)):
        raise ValueError("a path such as /metrics, or nothing")
    return value


def _addresses(value: Any) -> tuple[str, ...]:
    wanted = "addresses such as ops@example.com, as a list or parted by commas"
    if not isinstance(value, str | list | tuple):
        raise ValueError(wanted)
    found = value.split(",") if isinstance(value, str) else value
    addresses = tuple(str(address).strip() for address in found if str(address).strip())
    if not all(re.fullmatch(r"[^@\s]+@[^@\s]+", address) for address in addresses):
        raise ValueError(wanted)
    return addresses


def _webhook(value: Any) -> str:
    wanted = "an https:// URL; http:// goes to this machine only, such as http://127.0.0.1:9000/alerts"
    try:
        url = urlsplit(_text(value))
        host = url.hostname
    except ValueError:
        raise ValueError(wanted) from None
    if value and not (host and (url.scheme == "https" or (url.scheme == "http" and host in _LOOPBACK))):
        raise ValueError(wanted)
    return str(value)


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(_text(value)).key
    except (KeyError, ValueError, OSError):
        raise ValueError("an IANA time zone such as Europe/Berlin") from None


def _packages(value: Any) -> tuple[str, ...]:
    wanted = "names of packages such as app.jobs, as a list or parted by commas"
    if not isinstance(value, str | list | tuple):
        raise ValueError(wanted)
    found = value.split(",") if isinstance(value, str) else value
    names = tuple(str(name).strip() for name in found if str(name).strip())
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError(wanted)
    return names


def _queues(value: Any) -> dict[str, QueuePolicy]:
    if not isinstance(value, Mapping):
        raise ValueError("a mapping of queue name to policy")
    return policies_of(value)


def _setting(key: str, read: Callable[[Any], Any], default: Any, meaning: str, *, also: tuple[str, ...] = ()) -> Any:
    metadata = {"key": key, "read": read, "meaning": meaning, "also": also}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Config:
    """The library's settings. `docs/configuration.md` lists the same keys with the same defaults."""

    enabled: bool = _setting(
        "UNDERSTUDY_ENABLED",
        _boolean,
        True,
        "master switch: off = jobs are stored, no worker and no clock run (G10)",
    )
    transport: str = _setting(
        "UNDERSTUDY_TRANSPORT",
        _text,
        "",
        "`database`, `memory` (= database) or a redis:// URL; empty = from REDIS_URL",
    )
    worker: str = _setting(
        "UNDERSTUDY_WORKER",
        _choice("auto", "in-process", "off"),
        "auto",
        "whether the web process runs jobs (G06)",
    )
    fallback: str = _setting(
        "UNDERSTUDY_FALLBACK",
        _choice("sync", "hold", "fail"),
        "hold",
        "what a send does while the broker is down",
    )
    lease_seconds: float = _setting(
        "UNDERSTUDY_LEASE_SECONDS",
        _lease,
        30.0,
        "s a worker process may be silent before its jobs are rescued",
    )
    rescue_grace_seconds: float = _setting(
        "UNDERSTUDY_RESCUE_GRACE_SECONDS",
        _seconds,
        20.0,
        "s the database must have answered before anybody is rescued",
    )
    clock_seconds: float = _setting("UNDERSTUDY_CLOCK_SECONDS", _seconds, 1.0, "s between two turns of the clock")
    clock_lease_seconds: float = _setting(
        "UNDERSTUDY_CLOCK_LEASE_SECONDS", _seconds, 10.0, "s a clock leads without renewing"
    )
    fair: bool = _setting("UNDERSTUDY_FAIR", _boolean, True, "whether the tenants of a queue take turns (S5)")
    runway: int = _setting("UNDERSTUDY_RUNWAY", _whole(1), 2000, "ids of one queue that the broker holds at the most")
    max_payload_bytes: int = _setting(
        "UNDERSTUDY_MAX_PAYLOAD_BYTES",
        _whole(1),
        262_144,
        "bytes of encoded arguments that are accepted (C12)",
    )
    warn_payload_bytes: int = _setting(
        "UNDERSTUDY_WARN_PAYLOAD_BYTES",
        _whole(1),
        102_400,
        "bytes of encoded arguments above which a warning is logged (C12)",
    )
    sync_budget_seconds: float = _setting(
        "UNDERSTUDY_SYNC_BUDGET_SECONDS",
        _seconds,
        10.0,
        "s a request waits for a job of the sync fallback (G9)",
    )
    sync_slots: int = _setting(
        "UNDERSTUDY_SYNC_SLOTS",
        _whole(1),
        2,
        "jobs of the sync fallback that one process runs at a time (G9)",
    )
    broker_timeout_seconds: float = _setting(
        "UNDERSTUDY_BROKER_TIMEOUT_SECONDS",
        _seconds,
        0.4,
        "s one exchange with the broker may take in a request",
    )
    max_history: int = _setting(
        "UNDERSTUDY_MAX_HISTORY",
        _whole(0),
        0,
        "completed jobs kept per queue; 0 = by age alone (N03)",
    )
    discover: tuple[str, ...] = _setting(
        "UNDERSTUDY_DISCOVER",
        _packages,
        (),
        "packages whose modules are imported at init_app, for the actors and events in them (B02)",
    )
    event_key: str = _setting(
        "UNDERSTUDY_EVENT_KEY",
        _text,
        "",
        "bearer token that publishes events over HTTP and does nothing else; empty = none does (H01)",
        also=("JOBS_EVENT_KEY", "INNGEST_EVENT_KEY"),
    )
    event_days: int = _setting(
        "UNDERSTUDY_EVENT_DAYS", _whole(1), 30, "days for which published events are kept in their log"
    )
    signing_key: str = _setting(
        "UNDERSTUDY_SIGNING_KEY",
        _text,
        "",
        "secret shared with machines that report to us or invoke jobs; empty = none do (H01)",
        also=("JOBS_SIGNING_KEY", "INNGEST_SIGNING_KEY"),
    )
    log_pii: bool = _setting("UNDERSTUDY_LOG_PII", _boolean, False, "log recipients and arguments as they are (C31)")
    rest_prefix: str = _setting("UNDERSTUDY_REST_PREFIX", _text, "/api/jobs", "URL prefix of the REST API")
    dashboard_prefix: str = _setting(
        "UNDERSTUDY_DASHBOARD_PREFIX", _text, "/api/jobs/dashboard", "URL prefix of the dashboard"
    )
    invoke_alias: str = _setting(
        "UNDERSTUDY_INVOKE_ALIAS",
        _path,
        "/api/inngest",
        "second URL path that runs jobs over HTTP, beside the API's /invoke; empty = none (I01)",
    )
    metrics_path: str = _setting(
        "UNDERSTUDY_METRICS_PATH",
        _path,
        "",
        "URL path of the metrics for Prometheus, such as /metrics; empty = none (M07)",
    )
    metrics_public: bool = _setting(
        "UNDERSTUDY_METRICS_PUBLIC", _boolean, False, "whether everybody may read the metrics for Prometheus"
    )
    alert_depth: int = _setting(
        "UNDERSTUDY_ALERT_DEPTH", _whole(1), 100, "waiting jobs of a queue above which an alert is raised (M08)"
    )
    alert_failure_rate: float = _setting(
        "UNDERSTUDY_ALERT_FAILURE_RATE",
        _share,
        0.1,
        "share of a queue's attempts in 5 minutes that may fail before an alert is raised (M09)",
    )
    alert_stalled_seconds: float = _setting(
        "UNDERSTUDY_ALERT_STALLED_SECONDS",
        _seconds,
        30.0,
        "s without a heartbeat of a worker with jobs before an alert is raised (M10)",
    )
    alert_emails: tuple[str, ...] = _setting(
        "UNDERSTUDY_ALERT_EMAILS", _addresses, (), "addresses that are told of alerts, through Flask-Mail"
    )
    alert_webhook: str = _setting(
        "UNDERSTUDY_ALERT_WEBHOOK", _webhook, "", "https:// URL that alerts are posted to as JSON; empty = none"
    )
    timezone: str = _setting("UNDERSTUDY_TIMEZONE", _zone, "UTC", "IANA zone of schedules that name none (C20)")
    queues: dict[str, QueuePolicy] = _setting(
        "UNDERSTUDY_QUEUES", _queues, dict, "policy per queue: retries, limits, retention"
    )
    concurrency: int = _setting("QUEUE_CONCURRENCY", _whole(1), 5, "threads of an in-process worker (H04)")
    poll_interval_ms: int = _setting(
        "QUEUE_POLL_INTERVAL", _whole(10), 1000, "ms between two looks at an idle queue (H05)"
    )
    shutdown_timeout_ms: int = _setting(
        "QUEUE_SHUTDOWN_TIMEOUT",
        _whole(0),
        30_000,
        "ms a worker may take to stop, 5 s of them to hand back (H06, G11)",
    )
    max_attempts: int | None = _setting(
        "QUEUE_MAX_RETRIES",
        _whole(1),
        None,
        "attempts of a job whose queue and actor say nothing (H13, D09)",
    )
    backoff_ms: int = _setting("QUEUE_BACKOFF_DELAY", _whole(0), 5000, "ms before the first retry (H14)")
    scheduler_enabled: bool = _setting("SCHEDULER_ENABLED", _boolean, False, "whether the clock fires schedules (H07)")
    scheduler_poll_ms: int = _setting(
        "SCHEDULER_POLL_INTERVAL",
        _whole(10),
        60_000,
        "ms between two looks at the schedules at the most (H08)",
    )

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
        """Read the settings.

        Args:
            config: The Flask application's `app.config`.
            environ: The environment, which wins; default `os.environ`.

        Raises:
            ConfigError: A key is unknown or a value is invalid; names key, value and remedy.
        """
        environ = os.environ if environ is None else environ
        known = {f.metadata["key"]: f for f in fields(cls)}
        _refuse_unknown({*config, *environ}, known)
        values = {}
        for key, setting in known.items():
            found: Any = environ[key] if key in environ else config.get(key)
            for other in setting.metadata["also"]:
                found = found or environ.get(other) or config.get(other)
            if found is None or (found == "" and setting.metadata["read"] not in {_text, _path}):
                continue
            try:
                values[setting.name] = setting.metadata["read"](found)
            except ValueError as problem:
                raise ConfigError(f"{key} is {found!r}; it takes {problem}.") from None
        values["transport"] = transport_url(values.get("transport", ""), config, environ)
        return cls(**values)


def _refuse_unknown(given: set[str], known: Mapping[str, Any]) -> None:
    for key in sorted(k for k in given if isinstance(k, str) and k.startswith("UNDERSTUDY_")):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else " docs/configuration.md lists the keys."
            raise ConfigError(f"{key} is no setting of Flask-Understudy.{hint}")


def transport_url(named: str, config: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the URL of the transport: `database`, or a Redis URL (requirements H09, H12, C9).

    Args:
        named: The value of `UNDERSTUDY_TRANSPORT`; wins when not empty.
        config: The Flask application's configuration.
        environ: The environment, which wins over `config`.

    Raises:
        ConfigError: The URL's scheme is unknown, or the port is no number.
    """

    def look(key: str) -> Any:
        return environ.get(key) or config.get(key) or ""

    if named in {"database", "memory"}:
        return "database"
    url, host = look("REDIS_URL"), look("QUEUE_REDIS_HOST")
    port, password = look("QUEUE_REDIS_PORT"), look("QUEUE_REDIS_PASSWORD")
    if host or port or password:
        try:
            by_parts = (host or "localhost", _whole(1)(port or 6379))
        except ValueError as problem:
            raise ConfigError(f"QUEUE_REDIS_PORT is {port!r}; it takes {problem}.") from None
        if url:
            _check_transport("REDIS_URL", str(url))
        by_url = (urlsplit(url).hostname, urlsplit(url).port or 6379) if url else by_parts
        if by_url != by_parts:
            logger.warning(
                "REDIS_URL names %s:%s and QUEUE_REDIS_* names %s:%s; REDIS_URL is used. Make them agree.",
                *by_url,
                *by_parts,
            )
        secret = f":{quote(str(password), safe='')}@" if password else ""
        url = url or f"redis://{secret}{by_parts[0]}:{by_parts[1]}/0"
    key = "UNDERSTUDY_TRANSPORT" if named else "REDIS_URL"
    url = named or url
    if not url:
        return "database"
    _check_transport(key, str(url))
    return str(url)


def _check_transport(key: str, url: str) -> None:
    """Refuse a URL that no transport can use, naming its key."""
    try:
        parts = urlsplit(url)
        port, database = parts.port, parts.path.strip("/")
    except ValueError as problem:
        wrong = f": {problem}"
    else:
        is_number = database.isdecimal() or not database or parts.scheme not in {"redis", "rediss"}
        if parts.scheme in {"redis", "rediss", "unix"} and port != 0 and is_number:
            return
        wrong = "" if is_number else f": the database {database[:40]!r} is no number"
    others = "database, " if key == "UNDERSTUDY_TRANSPORT" else ""
    raise ConfigError(
        f"{key} is {redacted(url)!r}, which is no transport{wrong}; "
        f"it takes {others}redis://host:6379/0 or rediss://host:6379/0."
    )


def redacted(url: str) -> str:
    """Return a URL without its password, fit for logs."""
    return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
