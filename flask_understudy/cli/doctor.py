"""`doctor`: looks at everything an operator would, and says what to do."""

from __future__ import annotations

import click

from ..operations.checks import CHECKS
from ..operations.checks.examining import Seen, examine
from ..operations.checks.finding import ERROR, WARNING
from .group import FAILURE, jobs, state
from .printing import as_json_option, counted, emit, printable, styled


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


def _show(seen: Seen) -> None:
    finding = seen.finding
    click.echo(f"{styled(finding.status, f'{finding.status:<8}')} {seen.check}: {printable(finding.found)}")
    if finding.remedy:
        click.echo(f"{'':<9}{click.style('→', bold=True)} {finding.remedy}")
