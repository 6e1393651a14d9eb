"""Our worker: the Flask application and the actors that the benchmarks send, as `dramatiq` or a web server loads it."""

from __future__ import annotations

import os
import time
from typing import Any

from flask import Flask, Request
from flask_sqlalchemy import SQLAlchemy

from benchmarks.programs import tally
from flask_understudy import Limit, Principal, Understudy, step

QUEUES = [f"q{n}" for n in range(6)]

db = SQLAlchemy()
jobs = Understudy(db)


@jobs.authorizer
def who(request: Request) -> Principal | None:
    """Let in whoever names a tenant."""
    tenant = request.headers.get("X-Tenant")
    scopes = frozenset({"read", "payload", "enqueue", "operate", "admin"})
    return None if tenant is None else Principal("bench", tenant, scopes)


@jobs.actor(queue_name="q0", api=True)
def noop(number: int = 0) -> None:
    """Do nothing, and say so."""
    tally.tick()


@jobs.actor(queue_name="q0", limit=Limit(concurrency=16, key=lambda number: number % 8))
def keyed(number: int) -> None:
    """Do nothing, as one of the few with the same key."""
    tally.tick()


@jobs.actor(queue_name="q0")
def in_steps(steps: int) -> None:
    """Do nothing, in so many steps."""
    for number in range(steps):
        step.run("step", abs, number)
    tally.tick()


@jobs.actor(queue_name="q0")
def mark(slot: int) -> None:
    """Note when it started."""
    tally.stamp(slot)


@jobs.actor(queue_name="q0", time_limit=600_000)
def nap(ms: int) -> None:
    """Take as long as a job that waits for somebody else."""
    time.sleep(ms / 1000)
    tally.tick()


if os.environ.get("BENCH_QUEUES") == "6":
    for name in QUEUES[1:]:
        jobs.actor(queue_name=name, actor_name=f"noop-{name}")(lambda: None)


class Line(db.Model):  # type: ignore[name-defined,misc]
    """What a business writes in a request."""

    __tablename__ = "bench_lines"

    id: Any = db.Column(db.Integer, primary_key=True)
    text: Any = db.Column(db.Text, nullable=False)


def create_app(database: str, **config: Any) -> Flask:
    """Return the application on a database, with whatever settings."""
    app = Flask("benchmark")
    app.secret_key = "measured, not kept"
    app.config.update({"SQLALCHEMY_DATABASE_URI": database, "UNDERSTUDY_WORKER": "off", **config})
    db.init_app(app)
    jobs.init_app(app)
    return app


if "BENCH_DATABASE" in os.environ:
    app = create_app(os.environ["BENCH_DATABASE"])
    if "BENCH_GATE" in os.environ:
        tally.wait_for_start()
