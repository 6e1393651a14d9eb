"""What can be told without asking anybody: settings, declarations, folders."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ...config.redacted import redacted
from ...state import State
from .finding import ERROR, NOTE, OK, WARNING, Finding

SHORTEST_SECRET = 16


def mode(state: State) -> Iterator[Finding]:
    """Say how the application is set up; settings that cannot be would have kept it from loading."""
    database = state.database.engine.url.render_as_string(hide_password=True)
    transport = redacted(state.config.transport)
    yield Finding(OK, f"valid; ledger {database}, transport {transport}, worker {state.config.worker}")
    if state.transport.name == "database" and not state.database.is_sqlite:
        yield Finding(
            NOTE, "no Redis is configured: workers look into the ledger instead of being woken", "Set REDIS_URL."
        )
    if state.config.log_pii:
        yield Finding(WARNING, "UNDERSTUDY_LOG_PII is on: recipients stand in the log", "Unset it in production.")


def secrets(state: State) -> Iterator[Finding]:
    """Look whether there is what signs tokens and cursors."""
    key = state.app.secret_key
    if not key and state.authorizer is None:
        remedy = "If it is wanted, declare an authoriser (jobs.authorizer) and set SECRET_KEY."
        yield Finding(NOTE, "there is no SECRET_KEY and no authoriser: the application has no REST API", remedy)
    elif not key:
        remedy = "Set SECRET_KEY, the same for all processes: openssl rand -hex 32"
        yield Finding(ERROR, "there is no SECRET_KEY: the REST API is not mounted", remedy)
    elif len(key) < SHORTEST_SECRET:
        yield Finding(WARNING, f"SECRET_KEY has {len(key)} characters", "Take a longer one: openssl rand -hex 32")
    else:
        yield Finding(OK, "SECRET_KEY is set")


def switch(state: State) -> Iterator[Finding]:
    """Look at the master switch."""
    if state.config.enabled:
        yield Finding(OK, "jobs are run")
    else:
        yield Finding(
            ERROR, "UNDERSTUDY_ENABLED is off: jobs are stored, and none is run", "Set UNDERSTUDY_ENABLED=true."
        )


def actors(state: State) -> Iterator[Finding]:
    """Look whether actors are declared, each under one name."""
    names = sorted(state.broker.actors)
    if not names:
        remedy = "Import the modules that declare them where the application is made."
        yield Finding(ERROR, "no actor is declared", remedy)
        return
    alike = defaultdict(list)
    for name in names:
        alike[name.replace("/", ":")].append(name)
    for twins in alike.values():
        if len(twins) > 1:
            yield Finding(ERROR, f"{' and '.join(twins)} are the same name", "Rename all but one of these actors.")
    queues = len(state.broker.get_declared_queues())
    yield Finding(OK, f"{len(names)} declared on {queues} queue{'' if queues == 1 else 's'}")


def schedules(state: State) -> Iterator[Finding]:
    """Look whether what is scheduled is fired."""
    n = len(state.broker.schedules)
    if n and not state.config.scheduler_enabled:
        found = f"{n} schedule{' is' if n == 1 else 's are'} declared and SCHEDULER_ENABLED is off: none fires"
        yield Finding(WARNING, found, "Set SCHEDULER_ENABLED=true.")
    else:
        yield Finding(OK, f"{n} declared" if n else "none declared")
    for schedule in state.broker.schedules:
        if schedule.actor not in state.broker.actors:
            found = f"the schedule {schedule.name} sends {schedule.actor}, which no actor is named"
            yield Finding(ERROR, found, "Declare the actor, or drop the schedule.")


def folders(state: State) -> Iterator[Finding]:
    """Look whether files can be written."""
    wanted = {"the instance folder": Path(state.app.instance_path), "the temporary folder": _temporary()}
    unwritable = [f"{name} {path}" for name, path in wanted.items() if path is None or not _is_writable(path)]
    for name in unwritable:
        yield Finding(
            WARNING, f"{name} cannot be written", "Change its owner, or name another (INSTANCE_PATH, TMPDIR)."
        )
    if not unwritable:
        yield Finding(OK, "instance and temporary folder can be written")


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None


def _is_writable(path: Path) -> bool:
    while not path.exists() and path != path.parent:
        path = path.parent  # what is missing is made when it is needed
    return os.access(path, os.W_OK | os.X_OK)


def web_processes(state: State) -> Iterator[Finding]:
    """Look whether each of several web processes would run a worker of its own."""
    n = os.environ.get("WEB_CONCURRENCY", "")
    if state.config.worker == "in-process" and n.isdecimal() and int(n) > 1:
        remedy = "Set UNDERSTUDY_WORKER=off and run: flask jobs worker"
        yield Finding(WARNING, f"UNDERSTUDY_WORKER is in-process, and {n} web processes each run a worker", remedy)
