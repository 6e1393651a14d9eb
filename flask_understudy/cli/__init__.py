"""The command line `flask jobs …`: a door to the ledger for operators, and what runs the programs."""

from flask import Flask

from . import (  # noqa: F401 - they declare commands
    batches,
    deliveries,
    doctor,
    events,
    following,
    limits,
    looking,
    new,
    queues,
    schedules,
    sending,
    serving,
    tables,
    tenants,
    verbs,
    watching,
    webhooks,
    workers,
    workflows,
)
from .group import jobs


def mount(app: Flask) -> None:
    """Add the commands to an application's `flask` command.

    Args:
        app: The application; one that has commands named `jobs` of its own keeps them.
    """
    if jobs.name not in app.cli.commands:
        app.cli.add_command(jobs)


__all__ = ["mount"]
