"""Payroll in the background (requirements A01 to A06, D02)."""

from __future__ import annotations

import logging
from typing import Any

import dramatiq

from app.actors.email import queue_email
from app.extensions import db, jobs
from app.models.payroll_period import PayrollPeriod
from app.services import payroll
from app.services.ownership import NotOwn, check_own
from flask_understudy import Principal, Snooze, acting_as, current_job
from flask_understudy.contrib.mail import InvalidMail
from flask_understudy.errors import JobCancelled

log = logging.getLogger("app.payroll")


@jobs.actor(actor_name="payroll:failed", queue_name="payroll", time_limit=30_000, throws=(NotOwn,))
def give_up(message: dict[str, Any], limits: dict[str, Any]) -> None:
    """Mark a period as failed when the last attempt at it has."""
    period = payroll.of_job(message["message_id"])
    if period is None:
        return
    check_own(period.tenant_id, f"payroll job {message['message_id']!r:.80}")
    job = jobs.get(message["message_id"])
    if job is not None and job.state == "active":
        raise Snooze(1, "The last attempt is not recorded yet.")
    payroll.settle(period)


@jobs.actor(
    queue_name="payroll",
    actor_name="payroll:process",
    max_retries=3,
    time_limit=600_000,
    fallback="hold",
    on_retry_exhausted="payroll:failed",
    throws=(NotOwn,),
)
def process_payroll(payroll_period_id: str, initiated_by: str) -> dict[str, Any]:
    """Make the payslips of a period, and tell who asked for them once.

    Four tries (D02); each goes on where the one before was. Run again after its end, it does nothing.
    """

    def report(done: int, of: int) -> None:
        current_job.progress(100 * done / max(of, 1), f"{done} of {of} employees")
        current_job.check_cancelled()

    try:
        period = payroll.process(payroll_period_id, initiated_by, current_job.id, report)
    except JobCancelled:
        payroll.fail(payroll_period_id, "It was cancelled.")
        raise
    if period is None or not payroll.complete(period):
        db.session.rollback()
        return {"period": payroll_period_id, "skipped": True}
    _mail("payroll-completed", period, employees=period.employees, total=f"{period.net_cents / 100:,.2f}")
    db.session.commit()  # the end and the mail about it, both or neither (A05)
    return {"period": period.id, "employees": period.employees, "skipped": False}


@payroll.failed.connect
def tell(period: PayrollPeriod) -> None:
    """Queue the mail about a period that has failed for good, in the transaction that says so."""
    _mail("payroll-failed", period, error=period.error or "unknown")


def _mail(mail: str, period: PayrollPeriod, **fields: Any) -> None:
    person = payroll.initiator(period)
    if person is None:
        log.warning("nobody to mail %s to: who started it has left", mail, extra={"period": period.id})
        return
    with acting_as(Principal(subject=person.id, tenant=period.tenant_id)):
        try:
            queue_email(mail, person.email, {"name": person.name, "period": period.name, **fields})
        except InvalidMail as problem:  # it is paid all the same
            log.warning("%s cannot be mailed: %s", mail, problem, extra={"period": period.id})


def queue_payroll_processing(payroll_period_id: str, company_id: str, initiated_by: str) -> dramatiq.Message[Any]:
    """Queue the payroll of a period; while one is queued or runs, that one is returned (A01).

    It joins the caller's transaction when that has uncommitted writes, and else is committed at once.

    Args:
        payroll_period_id: The period.
        company_id: The organisation that it and the job belong to (P10).
        initiated_by: The user who is mailed at the end (A05).

    Raises:
        PayrollRefused: There is no such period, it is complete, or there is no such user; nothing was stored.
    """
    payroll.check(payroll_period_id, company_id, initiated_by)
    return process_payroll.send_with_options(
        kwargs={"payroll_period_id": payroll_period_id, "initiated_by": initiated_by},
        dedup_key=f"payroll:{payroll_period_id}",
        tenant=company_id,
        owner=initiated_by,
    )
