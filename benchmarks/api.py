"""The HTTP API on a ledger that has grown: how long its answers take, for one client and for many at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3
from sqlalchemy import create_engine, text

from benchmarks.arena import PYTHON, ROOT, Arena, create_tables
from benchmarks.harness import Row, Scale, limit, percentile

HISTORY = """
INSERT INTO understudy_jobs (id, tenant, queue, actor, state, priority, args, run_at, created_at, started_at,
    finished_at, worker_id, attempt, fence, max_attempts, progress, error, reason, fingerprint)
SELECT 'past-' || n, 'tenant-' || n % 10, 'q' || 1 + n % 5, 'noop',
    CASE WHEN n % 30 = 0 THEN 'failed' ELSE 'completed' END, 3, CAST('[' || n || ']' AS json),
    at, at, at, at, 'gone', 1, 1, 4, 100,
    CASE WHEN n % 30 = 0 THEN 'ValueError: number ' || n END, CASE WHEN n % 30 = 0 THEN 'error' END,
    CASE WHEN n % 30 = 0 THEN 'print' || n % 7 END
FROM generate_series(1, :rows) n, LATERAL (SELECT now() - n * interval '50 milliseconds' AS at) moment"""

CLIENTS = 50
SECONDS = 4.0
TENANT = {"X-Tenant": "tenant-3"}


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of request.

    Attributes:
        name: For people.
        path: Below the prefix.
        body: JSON to POST; None = GET.
        at_most: ms that the answer may take on a ledger that has grown.
    """

    name: str
    path: str
    body: object | None = None
    at_most: float = 50


CALLS = (
    Call("newest jobs", ""),
    Call("failed jobs of a queue", "/q4/jobs?status=failed&limit=50"),
    Call("ended jobs of all queues", "?status=completed&status=failed"),
    Call("search by error text", "?status=failed&error=number 30"),
    Call("search by error text, in vain", "?error=no such words"),
    Call("search by payload, in vain", "?payload=number:-1"),
    Call("failures by fingerprint", "/failures"),
    Call("counts of all queues", "/stats"),
    Call("send a job", "", {"type": "noop", "payload": {"number": 1}}),
    Call("dashboard, overview", "/dashboard", at_most=100),
    Call("dashboard, jobs", "/dashboard/jobs", at_most=100),
    Call("dashboard, search by error text", "/dashboard/jobs?q=state:failed error:number", at_most=100),
    Call("dashboard, one job", "/dashboard/jobs/past-1003", at_most=100),
    Call("dashboard, failures", "/dashboard/failures", at_most=100),
)


def api(arena: Arena, scale: Scale) -> Iterator[Row]:
    """Each kind of request: alone, then by 50 clients at once."""
    database = arena.new_database()
    create_tables(database)
    _fill(database, scale.history)
    with _served(database, arena.redis().url) as address:
        _measure(address, CALLS[0], clients=8, seconds=SECONDS)  # all processes are up
        for call in CALLS:
            alone = _measure(address, call, clients=1, seconds=SECONDS / 2)
            many = _measure(address, call, clients=CLIENTS, seconds=SECONDS)
            note = (
                f"p99 {percentile(alone, 0.99):.1f}; {CLIENTS} clients: p50 {percentile(many, 0.5):.0f}, "
                f"p99 {percentile(many, 0.99):.0f} ms, {len(many) / SECONDS:.0f} per s"
            )
            yield limit(
                f"API, {scale.history:,} finished: {call.name}",
                "ms",
                percentile(alone, 0.5),
                at_most=call.at_most,
                note=note,
            )


def _fill(database: str, rows: int) -> None:
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text(HISTORY), {"rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE understudy_jobs"))
    engine.dispose()


@contextmanager
def _served(database: str, redis_url: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "gunicorn", "benchmarks.programs.ours:app", "-b", f"127.0.0.1:{port}"]
    command += [
        "-c",
        "python:benchmarks.programs.gunicorn_settings",
        "-w",
        "2",
        "--threads",
        "8",
        "--log-level",
        "error",
        "--no-control-socket",
    ]
    environ = {**os.environ, "BENCH_DATABASE": database, "UNDERSTUDY_TRANSPORT": redis_url, "BENCH_QUEUES": "6"}
    environ["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen(command, env=environ, cwd=ROOT) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/api/jobs"
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _measure(address: str, call: Call, *, clients: int, seconds: float) -> list[float]:
    """Return how many ms each request took."""
    took: list[float] = []
    deadline = time.monotonic() + seconds

    def work() -> None:
        with urllib3.PoolManager(retries=False) as pool:
            while time.monotonic() < deadline:
                begun = time.perf_counter()
                if call.body is None:
                    answer = pool.request("GET", address + call.path, headers=TENANT)
                else:
                    headers = {**TENANT, "Content-Type": "application/json"}
                    answer = pool.request("POST", address + call.path, body=json.dumps(call.body), headers=headers)
                if answer.status not in {200, 202}:
                    raise RuntimeError(f"{call.name}: {answer.status} {answer.data[:500]!r}")
                took.append((time.perf_counter() - begun) * 1000)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not took:
        raise RuntimeError(f"{call.name}: no request got through")
    return took
