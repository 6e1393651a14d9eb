"""`doctor`: looks at everything an operator would, and says what to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import click
from sqlalchemy.exc import SQLAlchemyError

from ..state import State
from .checks import CHECKS, Check, Finding
from .checks.finding import ERROR, NOTE, WARNING
from .group import FAILURE, jobs, refusal, state
from .printing import as_json_option, counted, emit, printable, styled

LIMIT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding, and the check that made it."""

    check: str
    finding: Finding


@jobs.command("doctor")
@click.option("--only", "names", multiple=True, type=click.Choice([check.name for check in CHECKS]), help="Check.")
@click.option("--strict", is_flag=True, help="End with 1 for warnings as well.")
@as_json_option
def doctor(names: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Check the whole system; each thing that is wrong comes with its remedy.

    Ends with 1 when there is an error. No check takes longer than 3 s, whatever does not answer.

    \b
    Examples:
      flask jobs doctor
      flask jobs doctor --only redis --only "redis eviction"
      flask jobs doctor --strict --json
    """
    seen = []
    for each in examine(state(), [check for check in CHECKS if not names or check.name in names]):
        seen.append(each)
        if not as_json:
            _show(each)
    counts = {status: sum(each.finding.status == status for each in seen) for status in (ERROR, WARNING)}
    is_well = not counts[ERROR] and not (strict and counts[WARNING])
    if as_json:
        findings = [
            {"check": s.check, "status": s.finding.status, "found": s.finding.found, "remedy": s.finding.remedy or None}
            for s in seen
        ]
        emit({"ok": is_well, "errors": counts[ERROR], "warnings": counts[WARNING], "findings": findings})
    else:
        click.echo(f"\n{counted(counts[ERROR], 'error')}, {counted(counts[WARNING], 'warning')}.")
    if not is_well:
        click.get_current_context().exit(FAILURE)


def examine(here: State, checks: list[Check], limit_seconds: float = LIMIT_SECONDS) -> Iterator[Seen]:
    """Do the checks in order and yield what they find.

    Args:
        here: The application's side of the library.
        checks: Which ones; those whose needs are not met are left out and told.
        limit_seconds: s that each may take.
    """
    broken: set[str] = set()
    left_out: dict[str, list[str]] = {}
    for check in checks:
        lacking = next((need for need in check.needs if need in broken), None)
        if lacking is not None:
            left_out.setdefault(lacking, []).append(check.name)
            continue
        for finding in _within(limit_seconds, here, check):
            if finding.status == ERROR:
                broken.add(check.name)
            yield Seen(check.name, finding)
    for need, names in left_out.items():
        yield Seen(need, Finding(NOTE, f"not checked because of it: {', '.join(names)}"))


def _within(seconds: float, here: State, check: Check) -> list[Finding]:
    """Do a check in a thread that can be left behind when it hangs."""
    found: list[Finding] = []
    if here.database.is_in_memory:  # only one thread has that database
        _look(here, check, found)
        return found
    thread = threading.Thread(target=_look, args=(here, check, found), name=f"doctor-{check.name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        remedy = "It hangs: a firewall that drops packets, a frozen server, or a lock that somebody holds."
        return [Finding(ERROR, f"no answer within {seconds:g} s", remedy)]
    return found


def _look(here: State, check: Check, found: list[Finding]) -> None:
    try:
        with here.app.app_context():
            found += check.look(here)
    except SQLAlchemyError as problem:
        found.append(Finding(ERROR, refusal(problem).message, "See the database's log."))
    except Exception as problem:  # a check that breaks must not look like one that found nothing
        found.append(Finding(ERROR, f"the check itself failed: {type(problem).__name__}: {problem}"))


def _show(seen: Seen) -> None:
    finding = seen.finding
    click.echo(f"{styled(finding.status, f'{finding.status:<8}')} {seen.check}: {printable(finding.found)}")
    if finding.remedy:
        click.echo(f"{'':<9}{click.style('→', bold=True)} {finding.remedy}")
