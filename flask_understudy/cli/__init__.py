"""The command line `flask jobs …`: a door to the ledger for operators, and what runs the programs."""

from flask import Flask

from . import doctor, following, looking, queues, sending, serving, tables, tenants, verbs, watching  # noqa: F401 - they declare commands
from .group import jobs


def mount(app: Flask) -> None:
    """Add the commands to an application's `flask` command.

    Args:
        app: The application; one that has commands named `jobs` of its own keeps them.
    """
    if jobs.name not in app.cli.commands:
        app.cli.add_command(jobs)


__all__ = ["mount"]
