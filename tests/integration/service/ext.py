"""A small service for the tests with faults: its database, its jobs, and a table of what the jobs did."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_understudy import Understudy, current_job

db = SQLAlchemy()
jobs = Understudy(db)


class Effect(db.Model):  # type: ignore[name-defined]
    """What an attempt left behind in the service's own table."""

    __tablename__ = "effects"

    id = db.Column(db.Integer, primary_key=True)
    job_id = db.Column(db.Text, nullable=False, index=True)
    fence = db.Column(db.Integer, nullable=False)
    attempt = db.Column(db.Integer, nullable=False)
    actor = db.Column(db.Text, nullable=False)
    kind = db.Column(db.Text, nullable=False)  # start, end, or exact: committed together with the job
    pid = db.Column(db.Integer, nullable=False)
    at = db.Column(db.Float, nullable=False)  # s since 1970, on the one clock of the one host


def effect(kind: str) -> Effect:
    """The row that the running attempt leaves."""
    return Effect(
        job_id=current_job.id,
        fence=current_job.fence,
        attempt=current_job.attempt,
        actor=current_job.actor,
        kind=kind,
        pid=os.getpid(),
        at=time.time(),
    )


def leave(kind: str) -> None:
    """Commit an effect by itself."""
    db.session.add(effect(kind))
    db.session.commit()


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """Make the service; `settings` default to the environment."""
    given = dict(os.environ if settings is None else settings)
    app = Flask(__name__, instance_path=given.get("INSTANCE_PATH"))
    if settings is not None:
        app.config.update({k: v for k, v in given.items() if k not in {"DATABASE_URL", "INSTANCE_PATH"}})
    app.config["SQLALCHEMY_DATABASE_URI"] = given["DATABASE_URL"]
    db.init_app(app)
    jobs.init_app(app)
    return app
