"""`db` and `verify`: whether the ledger has its tables, and whether what stands in them can be."""

from __future__ import annotations

import click
import flask_migrate
from flask import current_app

from ..ledger.statements import run
from ..operations.tables import CREATE, gaps, remedy
from .group import Commands, Refused, jobs, state
from .invariants import INVARIANTS, MOST_SHOWN
from .printing import as_json_option, counted, emit, styled


@jobs.group("db", cls=Commands)
def db() -> None:
    """The ledger's tables, which the application migrates together with its own.

    \b
    flask db upgrade    applies the application's migrations, the ledger's among them
    flask db migrate    writes one after an update of the library, when its tables changed
    flask db check      says whether one is missing
    """


@db.command("upgrade")
def upgrade() -> None:
    """Apply the application's migrations, as `flask db upgrade` does, and check the ledger's tables.

    \b
    Example:
      flask jobs db upgrade
    """
    if "migrate" not in current_app.extensions:
        raise Refused(f"This application has no Flask-Migrate. Make the tables with {CREATE}.")
    flask_migrate.upgrade()
    if missing := gaps(state()):
        raise Refused(f"The migrations do not make all of the ledger: {missing[0]}. Write one: flask db migrate")
    click.echo("The ledger has all its tables and columns.")


@db.command("check")
@as_json_option
def check(as_json: bool) -> None:
    """Check that all tables and columns of the ledger are there.

    \b
    Example:
      flask jobs db check
    """
    missing = gaps(state())
    if as_json:
        emit({"ok": not missing, "missing": missing})
    elif not missing:
        click.echo("The ledger has all its tables and columns.")
    if missing:
        raise Refused(f"{counted(len(missing), 'gap')}: {'; '.join(missing[:3])}. Run: {remedy()}")


@jobs.command("verify")
@as_json_option
def verify(as_json: bool) -> None:
    """Check the invariants that the tables can answer for: I1 to I5 and I10 of the guarantees.

    Reads everything once; harmless while jobs run. Ends with 1 and each violation.

    \b
    Example:
      flask jobs verify
    """
    here = state()
    violations: list[dict[str, object]] = []
    counts: dict[str, int] = {}
    with here.database.engine.connect() as connection:
        for invariant in INVARIANTS:
            late_ms = int((here.config.lease_seconds + here.config.rescue_grace_seconds) * 1000) + 60_000
            parameters = {"late_ms": late_ms} if ":late_ms" in invariant.query else {}
            rows = run(connection, invariant.query, **parameters).fetchall()
            counts[invariant.id] = counts.get(invariant.id, 0) + len(rows)
            violations += [{"invariant": invariant.id, "what": invariant.broken.format(*row)} for row in rows]
    if as_json:
        emit({"ok": not violations, "checked": counts, "violations": violations})
    else:
        for id, n in counts.items():
            click.echo(f"{id:<4} {styled('error', counted(n, 'violation')) if n else styled('ok')}")
        for violation in violations[:MOST_SHOWN]:
            click.echo(f"{violation['invariant']}: {violation['what']}")
    if violations:
        raise Refused(f"{counted(len(violations), 'violation')} found.")
