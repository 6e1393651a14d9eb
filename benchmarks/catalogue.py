"""Everything that can be measured, by name, in the order of the targets."""

from __future__ import annotations

from benchmarks import against, api, drain, events, exports, growth, idle, outages, sends, steps
from benchmarks.harness import Benchmark


def all_benchmarks() -> dict[str, Benchmark]:
    """Return the benchmarks by name."""
    return {
        "drain-redis": drain.drain_redis,
        **against.drains(),
        "drain-database": drain.drain_database,
        "drain-keyed": drain.drain_keyed,
        "drain-slow-commits": drain.drain_slow_commits,
        "drain-embedded": drain.drain_embedded,
        "steps": steps.steps,
        "send-in-transaction": sends.send_in_transaction,
        "send-alone": sends.send_alone,
        "send-celery": against.send_beside_celery,
        "send-many": sends.send_many,
        "event-fan-out": events.fan_out,
        "idle-latency": idle.latency,
        "idle-cost": idle.idle_cost,
        "send-without-redis": outages.send_without_redis,
        "wipe": outages.wipe,
        "export-postgres": exports.postgres,
        "export-sqlite": exports.sqlite,
        "export-typed": exports.typed,
        "growth": growth.history,
        "api": api.api,
        "memory": growth.memory,
    }
