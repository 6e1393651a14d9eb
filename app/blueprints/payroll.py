"""Payroll over HTTP: periods, processing one, and what came of it (requirements A01, A06, K04)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import sqlalchemy as sa
from flask import Blueprint, Response
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.actors.payroll import queue_payroll_processing
from app.auth import current_principal, current_user, requires
from app.extensions import db
from app.models.employee import Employee
from app.models.payroll_detail import PayrollDetail
from app.models.payroll_period import PayrollPeriod
from app.services import audit, payroll
from app.services.people import one_line
from app.services.shapes import Queued, Shape
from flask_understudy.contrib.api import Body, Instant, Problem, not_found, once, operation

bp = Blueprint("payroll", __name__, url_prefix="/api/payroll/periods")

TAG = "Payroll"
MOST_DAYS = 366
YEARS = (1990, 2100)


def _within_years(day: dt.date) -> dt.date:
    if not YEARS[0] <= day.year <= YEARS[1]:
        years = {"first": YEARS[0], "last": YEARS[1]}
        raise PydanticCustomError("year", "must be a day of the years {first} to {last}", years)
    return day


Day = Annotated[dt.date, AfterValidator(_within_years)]


class NewPeriod(Body):
    """A period that people are to be paid for."""

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(one_line)
    ]
    starts_on: Day
    ends_on: Day = Field(description="The last day.")

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> NewPeriod:
        if not 0 <= (self.ends_on - self.starts_on).days < MOST_DAYS:
            raise PydanticCustomError("period", "endsOn is a day from startsOn on, within a year.")
        return self


class PeriodShape(Shape):
    """A period."""

    id: str
    name: str
    starts_on: dt.date
    ends_on: dt.date
    status: str = Field(description="draft, processing, completed or failed.")
    progress: str = Field(description="Such as 50%; it never goes back.")
    employees: int
    processed: int
    net_cents: int = Field(description="All that is paid out, once it is completed.")
    error: str | None
    completed_at: Instant | None


class PeriodList(Shape):
    """The latest periods, up to a hundred."""

    data: list[PeriodShape]


class PayslipShape(Shape):
    """What one employee is paid; all amounts in cents."""

    employee: str
    earnings: dict[str, int]
    deductions: dict[str, int]
    gross_cents: int
    net_cents: int


class PeriodDetail(PeriodShape):
    """A period with its payslips so far."""

    payslips: list[PayslipShape]


@bp.post("")
@requires("admin")
@operation(tag=TAG, body=NewPeriod, answers={201: PeriodShape}, errors=(409,))
def create(body: NewPeriod) -> Response:
    """Add a period, which shares no day with another one."""
    return once(db.session, current_principal().tenant, current_principal().subject, lambda: _create(body))


@bp.get("")
@requires("admin")
@operation(tag=TAG, answers={200: PeriodList})
def list_periods() -> Any:
    """List the organisation's periods, the latest first."""
    query = sa.select(PayrollPeriod).filter_by(tenant_id=current_principal().tenant)
    found = db.session.scalars(query.order_by(PayrollPeriod.starts_on.desc()).limit(100)).all()
    for period in found:
        payroll.settle(period)
    return PeriodList(data=[PeriodShape(**_fields(period)) for period in found])


@bp.get("/<period_id>")
@requires("admin")
@operation(tag=TAG, answers={200: PeriodDetail})
def show_period(period_id: str) -> Any:
    """Describe a period with its payslips."""
    period = _own(period_id)
    payroll.settle(period)
    query = sa.select(Employee.name, PayrollDetail).join(Employee, Employee.id == PayrollDetail.employee_id)
    found = db.session.execute(query.where(PayrollDetail.period_id == period.id).order_by(Employee.name, Employee.id))
    payslips = [
        PayslipShape(
            employee=name,
            earnings=slip.earnings,
            deductions=slip.deductions,
            gross_cents=slip.gross_cents,
            net_cents=slip.net_cents,
        )
        for name, slip in found
    ]
    return PeriodDetail(**_fields(period), payslips=payslips)


@bp.post("/<period_id>/process")
@requires("admin")
@operation(tag=TAG, answers={202: Queued}, errors=(409,))
def process_period(period_id: str) -> Response:
    """Queue the payroll of a period; you are mailed at its end."""
    return once(db.session, current_principal().tenant, current_principal().subject, lambda: _process(period_id))


def _create(body: NewPeriod) -> tuple[dict[str, Any], int]:
    caller = current_principal()
    try:
        period = payroll.add(caller.tenant, **body.model_dump())
    except payroll.PeriodsOverlap as problem:
        raise Problem(409, detail=str(problem)) from None
    audit.record("payroll.create", tenant_id=caller.tenant, subject=caller.subject, target=period.id)
    return PeriodShape(**_fields(period)).answer(), 201


def _process(period_id: str) -> tuple[dict[str, Any], int]:
    caller, period = current_principal(), _own(period_id)
    if current_user() is None:
        raise Problem(403, detail="A token without a user cannot start payroll, as a person is mailed at its end.")
    try:
        message = queue_payroll_processing(period.id, caller.tenant, caller.subject)
    except payroll.PayrollRefused as problem:
        raise Problem(409, detail=str(problem)) from None
    audit.record("payroll.process", tenant_id=caller.tenant, subject=caller.subject, target=period.id)
    return Queued.of(message).answer(), 202


def _own(period_id: str) -> PayrollPeriod:
    period = payroll.find(current_principal().tenant, period_id)
    if period is None:
        raise not_found()
    return period


def _fields(period: PayrollPeriod) -> dict[str, Any]:
    return {name: getattr(period, name) for name in PeriodShape.model_fields}
