"""The life of a payroll period: begun, processed ten employees at a time, completed or failed (A01 to A06).

Each ten are one transaction, and what stands in a payslip stays: a run that was interrupted goes on with those who
have none, and two runs at once make one payslip for each.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from blinker import Signal
from sqlalchemy.dialects import postgresql, sqlite

from app.extensions import db, jobs
from app.models.base import new_id, utcnow
from app.models.employee import Employee
from app.models.payroll_detail import PayrollDetail
from app.models.payroll_period import PayrollPeriod, PayrollStatus
from app.models.tenant import Tenant
from app.models.user import User
from app.services.ownership import check_own
from app.services.payslips import payslip, share_of

#: Employees in one transaction (A03).
AT_A_TIME = 10
LONGEST_ERROR = 500

#: Sent with a period that has failed, in the transaction that says so: what a receiver writes is committed with it.
failed = Signal()


class PayrollRefused(ValueError):
    """A period cannot be processed; says why."""


class PeriodsOverlap(ValueError):
    """A period shares days with one that is there; names that one."""


def add(tenant_id: str, name: str, starts_on: dt.date, ends_on: dt.date) -> PayrollPeriod:
    """Add a period to the caller's transaction, which then holds the organisation's row: one is added at a time.

    Raises:
        PeriodsOverlap: Nobody is paid twice for a day.
    """
    db.session.execute(sa.update(Tenant).where(Tenant.id == tenant_id).values(name=Tenant.name))
    overlapping = sa.select(PayrollPeriod).where(
        PayrollPeriod.tenant_id == tenant_id, PayrollPeriod.starts_on <= ends_on, PayrollPeriod.ends_on >= starts_on
    )
    other = db.session.scalar(overlapping.order_by(PayrollPeriod.starts_on).limit(1))
    if other is not None:
        raise PeriodsOverlap(f"There is the period {other.name!r} from {other.starts_on} to {other.ends_on}.")
    period = PayrollPeriod(tenant_id=tenant_id, name=name, starts_on=starts_on, ends_on=ends_on)
    db.session.add(period)
    db.session.flush()
    return period


def find(tenant_id: str, period_id: str) -> PayrollPeriod | None:
    """Return a period of an organisation; None for anybody else's, and for none (P10)."""
    return db.session.scalar(sa.select(PayrollPeriod).filter_by(id=str(period_id), tenant_id=str(tenant_id)))


def check(period_id: str, company_id: str, initiated_by: str) -> None:
    """Let a period pass that can be processed.

    Raises:
        PayrollRefused: There is none, it is complete, or nobody of the organisation has that id.
    """
    period = find(company_id, period_id)
    if period is None:
        raise PayrollRefused(f"There is no payroll period {period_id!r:.80} in the company {company_id!r:.80}.")
    if period.status is PayrollStatus.COMPLETED:
        raise PayrollRefused(f"The payroll period {period.name!r} is complete; its payslips stay as they are.")
    if db.session.scalar(sa.select(User.id).filter_by(id=str(initiated_by), tenant_id=period.tenant_id)) is None:
        raise PayrollRefused(f"There is no user {initiated_by!r:.80} in the company {company_id!r:.80}.")


def process(
    period_id: str, initiated_by: str, job_id: str, report: Callable[[int, int], object]
) -> PayrollPeriod | None:
    """Make the payslips that are missing, ten at a time, and commit each ten.

    Args:
        period_id: The period.
        initiated_by: Who is told of the end.
        job_id: The job that does it.
        report: Called after each ten, with the payslips so far and those there will be; what it raises ends the run.

    Returns:
        The period, still processing, with all its payslips; None when it is complete or gone.

    Raises:
        NotOwn: It is not of the running job's organisation.
    """
    period = db.session.get(PayrollPeriod, period_id, with_for_update=True, populate_existing=True)
    if period is not None:
        check_own(period.tenant_id, f"payroll period {period_id!r:.80}")
    if period is None or period.status is PayrollStatus.COMPLETED:
        db.session.rollback()
        return None
    period.status, period.error = PayrollStatus.PROCESSING, None
    period.initiated_by, period.job_id = initiated_by, job_id
    db.session.commit()
    while employees := db.session.scalars(_unpaid(period).limit(AT_A_TIME)).all():
        _pay(period, employees)
        done = _count(period)
        _advance(period, done)
        db.session.commit()
        report(done, period.employees)
    return period


def complete(period: PayrollPeriod) -> bool:
    """Mark a period as completed, in the caller's transaction; return whether it was this call that did.

    One that was marked as failed meanwhile, as when another job of it was cancelled, is complete all the same.
    """
    net = sa.select(sa.func.coalesce(sa.func.sum(PayrollDetail.net_cents), 0)).filter_by(period_id=period.id)
    done = _count(period)
    marked: sa.CursorResult[Any] = db.session.execute(  # type: ignore[assignment]
        sa.update(PayrollPeriod)
        .where(PayrollPeriod.id == period.id, PayrollPeriod.status != PayrollStatus.COMPLETED)
        .values(
            status=PayrollStatus.COMPLETED,
            progress="100%",
            error=None,
            employees=done,
            processed=done,
            net_cents=net.scalar_subquery(),
            completed_at=utcnow(),
        )
    )
    db.session.refresh(period)
    return marked.rowcount == 1


def fail(period_id: str, error: str) -> None:
    """Mark a period as failed that is being processed, tell of it, and commit.

    Its payslips stay, and another run goes on.

    Raises:
        NotOwn: It is not of the running job's organisation.
    """
    if (period := db.session.get(PayrollPeriod, period_id)) is not None:
        check_own(period.tenant_id, f"payroll period {period_id!r:.80}")
    marked: sa.CursorResult[Any] = db.session.execute(  # type: ignore[assignment]
        sa.update(PayrollPeriod)
        .filter_by(id=period_id, status=PayrollStatus.PROCESSING)
        .values(status=PayrollStatus.FAILED, error=error[:LONGEST_ERROR])
    )
    if marked.rowcount == 1:
        failed.send(db.session.get_one(PayrollPeriod, period_id, populate_existing=True))
    db.session.commit()


def settle(period: PayrollPeriod) -> None:
    """Mark a period as failed, and commit, when the job that processed it has come to an end without it.

    That is so when its tries are used up, its last attempt's process was killed, or the job was cancelled or deleted.
    """
    if period.status is not PayrollStatus.PROCESSING or period.job_id is None:
        return
    job = jobs.get(period.job_id)
    if job is not None and job.state not in {"failed", "cancelled"}:
        return
    if job is None:
        reason = "Its job is gone."
    elif job.state == "cancelled":
        reason = "It was cancelled."
    else:
        reason = job.error or job.reason or "It failed."
        if job.attempt > 1:
            reason = f"It failed {job.attempt} times; the last time: {reason}"
    fail(period.id, reason)


def settle_all() -> None:
    """Do so for all periods that are being processed."""
    for period in db.session.scalars(sa.select(PayrollPeriod).filter_by(status=PayrollStatus.PROCESSING)).all():
        settle(period)


def of_job(job_id: str) -> PayrollPeriod | None:
    """Return the period that a job began last, if it did."""
    return db.session.scalar(sa.select(PayrollPeriod).filter_by(job_id=job_id))


def initiator(period: PayrollPeriod) -> User | None:
    """Return who is told of a period's end; None when they are not in the organisation, or not any more."""
    return db.session.scalar(sa.select(User).filter_by(id=period.initiated_by, tenant_id=period.tenant_id))


def _employed(period: PayrollPeriod) -> sa.Select[Employee]:
    stays = sa.or_(Employee.left_on.is_(None), Employee.left_on >= period.starts_on)
    return sa.select(Employee).where(Employee.tenant_id == period.tenant_id, Employee.hired_on <= period.ends_on, stays)


def _unpaid(period: PayrollPeriod) -> sa.Select[Employee]:
    paid = sa.exists().where(PayrollDetail.period_id == period.id, PayrollDetail.employee_id == Employee.id)
    return _employed(period).where(~paid).order_by(Employee.id)


def _pay(period: PayrollPeriod, employees: Any) -> None:
    rows = []
    for employee in employees:
        months = share_of(period.starts_on, period.ends_on, employee.hired_on, employee.left_on)
        slip = payslip(employee.salary_cents, employee.allowance_cents, months)
        rows.append(
            {
                "id": new_id(),
                "tenant_id": period.tenant_id,
                "period_id": period.id,
                "employee_id": employee.id,
                "earnings": slip.earnings,
                "deductions": slip.deductions,
                "gross_cents": slip.gross,
                "net_cents": slip.net,
                "created_at": utcnow(),
            }
        )
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    db.session.execute(insert(PayrollDetail).on_conflict_do_nothing(), rows)


def _count(period: PayrollPeriod) -> int:
    return db.session.scalar(sa.select(sa.func.count()).select_from(PayrollDetail).filter_by(period_id=period.id)) or 0


def _advance(period: PayrollPeriod, done: int) -> None:
    """Note how far a period is. Another run may have been faster, and employees may join: it never goes back."""
    db.session.refresh(period, with_for_update=True)
    wanted = sa.select(sa.func.count()).select_from(_employed(period).subquery())
    period.employees = max(db.session.scalar(wanted) or 0, done)
    period.processed = max(period.processed, done)
    percent = max(int(period.progress.rstrip("%")), min(99, 100 * done // period.employees))
    period.progress = f"{percent}%"
