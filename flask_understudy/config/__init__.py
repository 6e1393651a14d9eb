"""Every setting of the library, read once at `init_app`.

A value comes from the environment, else from `app.config`, else from the default here (requirements H16, H17).
An unknown `UNDERSTUDY_*` key, or a value of the wrong type, is refused with the key, the value and what would do.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import ConfigError
from ..policy import QueuePolicy
from . import readers
from .addresses import transport_url


def _setting(
    key: str,
    read: Callable[[Any], Any],
    default: Any,
    meaning: str,
    *,
    also: tuple[str, ...] = (),
    is_secret: bool = False,
) -> Any:
    metadata = {"key": key, "read": read, "meaning": meaning, "also": also, "is_secret": is_secret}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Config:
    """The library's settings. `docs/configuration.md` lists the same keys with the same defaults."""

    enabled: bool = _setting(
        "UNDERSTUDY_ENABLED",
        readers.boolean,
        True,
        "master switch: off = jobs are stored, no worker and no clock run (G10)",
    )
    transport: str = _setting(
        "UNDERSTUDY_TRANSPORT",
        readers.text,
        "",
        "`database`, `memory` (= database), a redis:// URL, `sqs` or an sqs:// URL; empty = as *_URL say",
    )
    worker: str = _setting(
        "UNDERSTUDY_WORKER",
        readers.choice("auto", "in-process", "off"),
        "auto",
        "whether the web process runs jobs (G06)",
    )
    fallback: str = _setting(
        "UNDERSTUDY_FALLBACK",
        readers.choice("sync", "hold", "fail"),
        "hold",
        "what a send does while the broker is down",
    )
    lease_seconds: float = _setting(
        "UNDERSTUDY_LEASE_SECONDS",
        readers.lease,
        30.0,
        "s a worker process may be silent before its jobs are rescued",
    )
    rescue_grace_seconds: float = _setting(
        "UNDERSTUDY_RESCUE_GRACE_SECONDS",
        readers.seconds,
        20.0,
        "s the database must have answered before anybody is rescued",
    )
    clock_seconds: float = _setting(
        "UNDERSTUDY_CLOCK_SECONDS", readers.seconds, 1.0, "s between two turns of the clock"
    )
    clock_lease_seconds: float = _setting(
        "UNDERSTUDY_CLOCK_LEASE_SECONDS", readers.seconds, 10.0, "s a clock leads without renewing"
    )
    fair: bool = _setting("UNDERSTUDY_FAIR", readers.boolean, True, "whether the tenants of a queue take turns (S5)")
    runway: int = _setting(
        "UNDERSTUDY_RUNWAY", readers.whole(1), 2000, "ids of one queue that the broker holds at the most"
    )
    max_payload_bytes: int = _setting(
        "UNDERSTUDY_MAX_PAYLOAD_BYTES",
        readers.whole(1),
        262_144,
        "bytes of encoded arguments that are accepted (C12)",
    )
    warn_payload_bytes: int = _setting(
        "UNDERSTUDY_WARN_PAYLOAD_BYTES",
        readers.whole(1),
        102_400,
        "bytes of encoded arguments above which a warning is logged (C12)",
    )
    sync_budget_seconds: float = _setting(
        "UNDERSTUDY_SYNC_BUDGET_SECONDS",
        readers.seconds,
        10.0,
        "s a request waits for a job of the sync fallback (G9)",
    )
    sync_slots: int = _setting(
        "UNDERSTUDY_SYNC_SLOTS",
        readers.whole(1),
        2,
        "jobs of the sync fallback that one process runs at a time (G9)",
    )
    broker_timeout_seconds: float = _setting(
        "UNDERSTUDY_BROKER_TIMEOUT_SECONDS",
        readers.seconds,
        0.4,
        "s one exchange with the broker may take in a request",
    )
    max_history: int = _setting(
        "UNDERSTUDY_MAX_HISTORY",
        readers.whole(0),
        0,
        "completed jobs kept per queue; 0 = by age alone (N03)",
    )
    discover: tuple[str, ...] = _setting(
        "UNDERSTUDY_DISCOVER",
        readers.packages,
        (),
        "packages whose modules are imported at init_app, for the actors and events in them (B02)",
    )
    event_key: str = _setting(
        "UNDERSTUDY_EVENT_KEY",
        readers.text,
        "",
        "bearer token that publishes events over HTTP and does nothing else; empty = none does (H01)",
        also=("JOBS_EVENT_KEY", "INNGEST_EVENT_KEY"),
        is_secret=True,
    )
    event_days: int = _setting(
        "UNDERSTUDY_EVENT_DAYS", readers.whole(1), 30, "days for which published events are kept in their log"
    )
    signing_key: str = _setting(
        "UNDERSTUDY_SIGNING_KEY",
        readers.text,
        "",
        "secret shared with machines that report to us or invoke jobs; empty = none do (H01)",
        also=("JOBS_SIGNING_KEY", "INNGEST_SIGNING_KEY"),
        is_secret=True,
    )
    log_pii: bool = _setting(
        "UNDERSTUDY_LOG_PII", readers.boolean, False, "log recipients and arguments as they are (C31)"
    )
    rest_prefix: str = _setting("UNDERSTUDY_REST_PREFIX", readers.text, "/api/jobs", "URL prefix of the REST API")
    dashboard_prefix: str = _setting(
        "UNDERSTUDY_DASHBOARD_PREFIX",
        readers.path,
        "/api/jobs/dashboard",
        "URL prefix of the dashboard; empty = there is none (I07)",
    )
    waiting_requests: int = _setting(
        "UNDERSTUDY_WAITING_REQUESTS",
        readers.whole(0),
        8,
        "long polls and streams that wait at a time in one process; below its threads",
    )
    waiting_per_caller: int = _setting(
        "UNDERSTUDY_WAITING_PER_CALLER", readers.whole(0), 4, "those of one caller among them"
    )
    invoke_alias: str = _setting(
        "UNDERSTUDY_INVOKE_ALIAS",
        readers.path,
        "/api/inngest",
        "second URL path that runs jobs over HTTP, beside the API's /invoke; empty = none (I01)",
    )
    metrics_path: str = _setting(
        "UNDERSTUDY_METRICS_PATH",
        readers.path,
        "",
        "URL path of the metrics for Prometheus, such as /metrics; empty = none (M07)",
    )
    metrics_public: bool = _setting(
        "UNDERSTUDY_METRICS_PUBLIC", readers.boolean, False, "whether everybody may read the metrics for Prometheus"
    )
    alert_depth: int = _setting(
        "UNDERSTUDY_ALERT_DEPTH", readers.whole(1), 100, "waiting jobs of a queue above which an alert is raised (M08)"
    )
    alert_failure_rate: float = _setting(
        "UNDERSTUDY_ALERT_FAILURE_RATE",
        readers.share,
        0.1,
        "share of a queue's attempts in 5 minutes that may fail before an alert is raised (M09)",
    )
    alert_stalled_seconds: float = _setting(
        "UNDERSTUDY_ALERT_STALLED_SECONDS",
        readers.seconds,
        30.0,
        "s without a heartbeat of a worker with jobs before an alert is raised (M10)",
    )
    alert_emails: tuple[str, ...] = _setting(
        "UNDERSTUDY_ALERT_EMAILS", readers.addresses, (), "addresses that are told of alerts, through Flask-Mail"
    )
    alert_webhook: str = _setting(
        "UNDERSTUDY_ALERT_WEBHOOK",
        readers.webhook,
        "",
        "https:// URL that alerts are posted to as JSON; empty = none",
        is_secret=True,
    )
    webhook_allow: tuple[str, ...] = _setting(
        "UNDERSTUDY_WEBHOOK_ALLOW",
        readers.networks,
        (),
        "networks that webhooks may reach although they are not public, by HTTP and at any port too (S9)",
    )
    webhook_http: bool = _setting(
        "UNDERSTUDY_WEBHOOK_HTTP", readers.boolean, False, "whether webhooks may go to public hosts by plain HTTP (S9)"
    )
    webhook_ports: tuple[int, ...] = _setting(
        "UNDERSTUDY_WEBHOOK_PORTS", readers.ports, (443, 8443), "ports that webhooks may go to; empty = all (S9)"
    )
    release: str = _setting(
        "UNDERSTUDY_RELEASE",
        readers.text,
        "",
        "which release of the application this is; shown beside its workers",
        also=("SENTRY_RELEASE",),
    )
    timezone: str = _setting("UNDERSTUDY_TIMEZONE", readers.zone, "UTC", "IANA zone of schedules that name none (C20)")
    queues: dict[str, QueuePolicy] = _setting(
        "UNDERSTUDY_QUEUES", readers.queues, dict, "policy per queue: retries, limits, retention"
    )
    concurrency: int = _setting("QUEUE_CONCURRENCY", readers.whole(1), 5, "threads of an in-process worker (H04)")
    poll_interval_ms: int = _setting(
        "QUEUE_POLL_INTERVAL", readers.whole(10), 1000, "ms between two looks at an idle queue (H05)"
    )
    shutdown_timeout_ms: int = _setting(
        "QUEUE_SHUTDOWN_TIMEOUT",
        readers.whole(0),
        30_000,
        "ms a worker may take to stop, 5 s of them to hand back (H06, G11)",
    )
    max_attempts: int | None = _setting(
        "QUEUE_MAX_RETRIES",
        readers.whole(1),
        None,
        "attempts of a job whose queue and actor say nothing (H13, D09)",
    )
    backoff_ms: int = _setting("QUEUE_BACKOFF_DELAY", readers.whole(0), 5000, "ms before the first retry (H14)")
    scheduler_enabled: bool = _setting(
        "SCHEDULER_ENABLED", readers.boolean, False, "whether the clock fires schedules (H07)"
    )
    scheduler_poll_ms: int = _setting(
        "SCHEDULER_POLL_INTERVAL",
        readers.whole(10),
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
            if found is None or (found == "" and setting.metadata["read"] not in {readers.text, readers.path}):
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
