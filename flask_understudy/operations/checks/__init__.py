"""What the doctor looks at, in order: `flask jobs doctor`, and the dashboard's page of settings.

A check is a function of the state that yields what it found.
"""

from __future__ import annotations

from . import database, failures, mail, redis, schedules, settings, sqs, work
from .finding import Check, Finding

#: Those that need the database, or its tables, are left out while these are not there.
CHECKS: tuple[Check, ...] = (
    Check("settings", settings.mode),
    Check("secrets", settings.secrets),
    Check("enabled", settings.switch),
    Check("actors", settings.actors),
    Check("schedules", settings.schedules),
    Check("folders", settings.folders),
    Check("web processes", settings.web_processes),
    Check("database", database.reachable),
    Check("database clock", database.clock, needs=("database",)),
    Check("sqlite file", database.sqlite_file, needs=("database",)),
    Check("migrations", database.migrations, needs=("database",)),
    Check("tables", database.tables, needs=("database",)),
    Check("redis", redis.reachable),
    Check("redis eviction", redis.eviction, needs=("redis",)),
    Check("redis memory", redis.memory, needs=("redis",)),
    Check("redis persistence", redis.persistence, needs=("redis",)),
    Check("redis clock", redis.clock, needs=("redis",)),
    Check("sqs", sqs.reachable),
    Check("sqs permissions", sqs.permissions, needs=("sqs",)),
    Check("sqs queue", sqs.queue, needs=("sqs",)),
    Check("mail", mail.reachable),
    Check("workers", work.workers, needs=("database", "tables")),
    Check("consumers", work.consumers, needs=("database", "tables")),
    Check("waiting", work.waiting, needs=("database", "tables")),
    Check("paused", work.paused, needs=("database", "tables")),
    Check("clock", work.clock, needs=("database", "tables")),
    Check("schedules valid", schedules.valid, needs=("database", "tables")),
    Check("schedules late", schedules.late, needs=("database", "tables")),
    Check("stalled", work.stalled, needs=("database", "tables")),
    Check("embedded workers", work.embedded, needs=("database", "tables")),
    Check("payloads", work.payloads, needs=("database", "tables")),
    Check("failures", failures.kinds, needs=("database", "tables")),
    Check("poison", failures.poison, needs=("database", "tables")),
    Check("alerts", failures.alerts, needs=("database", "tables")),
)

__all__ = ["CHECKS", "Check", "Finding"]
