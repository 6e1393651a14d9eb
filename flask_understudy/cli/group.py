"""The group `flask jobs`: what all its commands have in common, and how an error becomes one line and a code."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import click
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from ..context import Principal
from ..errors import BrokerUnavailable, InvalidJob, JobNotFound, ScheduleNotFound, UnderstudyError
from ..ledger import AuditLine
from ..operations import audit
from ..operations.wording import reason_of
from ..state import KEY, State
from ..storing import explained

#: The codes with which commands end, besides 0.
FAILURE, USAGE, BROKER_UNREACHABLE, NOT_FOUND = 1, 2, 3, 4

EVERY_SCOPE = frozenset({"read", "payload", "enqueue", "operate", "admin", "tenants"})


class Refused(click.ClickException):
    """A command cannot do what it was asked to.

    Args:
        message: Why; shown as one line.
        code: With which the command ends.
    """

    def __init__(self, message: str, code: int = FAILURE) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = code  # type: ignore[misc]  # click reads it from the instance


class Commands(AppGroup):
    """A group whose commands run in an application context and never end with a traceback for what can be expected."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as problem:
            where = (problem.ctx or ctx).command_path
            raise Refused(f"{problem.format_message()} See: {where} --help", USAGE) from problem
        except (UnderstudyError, SQLAlchemyError) as problem:
            raise refusal(problem) from problem


def refusal(problem: Exception) -> Refused:
    """Return what a command says about an error, and the code it ends with."""
    if isinstance(problem, SQLAlchemyError):
        clearer = explained(problem)
        if clearer is problem:
            return Refused(f"The database does not do what was asked: {reason_of(problem)}")
        problem = clearer
    code = next((code for kind, code in _CODES.items() if isinstance(problem, kind)), FAILURE)
    return Refused(str(problem), code)


_CODES: dict[type[Exception], int] = {
    JobNotFound: NOT_FOUND,
    ScheduleNotFound: NOT_FOUND,
    BrokerUnavailable: BROKER_UNREACHABLE,
    InvalidJob: USAGE,
}


def state() -> State:
    """Return the library's side of the current application."""
    return cast(State, current_app.extensions[KEY])


def principal() -> Principal:
    """Return who uses the command line: whoever may run it may do everything."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        name = str(os.getuid())
    return Principal(subject=f"cli:{name}", scopes=EVERY_SCOPE)


@contextmanager
def audited(action: str, target: str, *, tenant: str | None = None, **detail: Any) -> Iterator[AuditLine]:
    """Do something in one transaction with its line in the audit: both are written, or neither is.

    Args:
        action: What, as `noun.verb`.
        target: To which job, queue or tenant.
        tenant: Whose that is, unless the target says so.
        **detail: Further facts.

    Yields:
        The line, to say more.
    """
    session = state().db.session
    line = audit.line(principal(), action, target, None, detail or None)
    try:
        line.tenant = audit.whose(session, principal(), action, target) if tenant is None else tenant
        session.add(line)
        session.flush()
        yield line
        session.commit()
    except BaseException:
        session.rollback()
        raise


@click.group("jobs", cls=Commands)
def jobs() -> None:
    """Background jobs: find them, act on them, run them, and find out what is wrong.

    \b
    Exit codes: 0 done, 1 failure, 2 usage, 3 broker unreachable, 4 not found.
    """


__all__ = [
    "BROKER_UNREACHABLE",
    "FAILURE",
    "NOT_FOUND",
    "USAGE",
    "Commands",
    "Refused",
    "audited",
    "jobs",
    "principal",
    "reason_of",
    "refusal",
    "state",
]


def limit_of(text: str) -> int | None:
    """Return a limit as it is typed: a number of jobs, or `none`.

    Raises:
        click.BadParameter: It is neither.
    """
    if text == "none":
        return None
    if not (text.isdecimal() and 1 <= int(text) <= 100_000):
        raise click.BadParameter(f"{text!r} is no whole number from 1 to 100000, nor none.", param_hint="'N|none'")
    return int(text)
