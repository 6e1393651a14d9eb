"""People to be paid in the demo organisations, and two months to pay them for."""

from __future__ import annotations

import datetime as dt
import random

from app.extensions import db
from app.models.base import new_id, utcnow
from app.models.employee import Employee
from app.models.payroll_period import PayrollPeriod

EMPLOYEES = 35

_FIRST = ("Ada", "Bruno", "Clara", "Dmitri", "Esra", "Femi", "Grete", "Hiro", "Ines", "Jonas")
_LAST = ("Abe", "Berg", "Costa", "Dahl")


def add(tenant_id: str, slug: str, chance: random.Random) -> None:
    """Add employees and the last two months to the caller's transaction."""
    today = utcnow().date()
    for number in range(EMPLOYEES):
        first, last = _FIRST[number % len(_FIRST)], _LAST[number // len(_FIRST)]
        db.session.add(
            Employee(
                id=new_id(),
                tenant_id=tenant_id,
                name=f"{first} {last}",
                email=f"{first}.{last}@{slug}.example".lower(),
                salary_cents=chance.randrange(220_000, 780_000, 5_000),
                allowance_cents=chance.choice((0, 0, 10_000, 25_000)),
                hired_on=today - dt.timedelta(days=chance.randrange(10, 3_000)),
            )
        )
    month = today.replace(day=1)
    for _ in range(2):
        last_day = month - dt.timedelta(days=1)
        month = last_day.replace(day=1)
        db.session.add(PayrollPeriod(tenant_id=tenant_id, name=f"{month:%B %Y}", starts_on=month, ends_on=last_day))
