"""What somebody earns in a period, and what is kept back (requirement A02).

The rates are an example and stand for a payroll's real ones: 5 % of the earnings go to the pension and 7.65 % to
social security; what is left after the pension is taxed, nothing up to 1,000.00 a month, 20 % from there to 4,000.00
and 40 % above. All amounts are whole cents; halves of a cent are rounded to the even one.
"""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from fractions import Fraction

PENSION = Fraction(5, 100)
SOCIAL_SECURITY = Fraction(765, 10_000)
#: From which monthly amount on, in cents, which part of what lies above is tax.
BRACKETS = ((400_000, Fraction(40, 100)), (100_000, Fraction(20, 100)))


@dataclass(frozen=True, slots=True)
class Payslip:
    """Earnings and deductions by label, in cents."""

    earnings: dict[str, int]
    deductions: dict[str, int]

    @property
    def gross(self) -> int:
        """All earnings."""
        return sum(self.earnings.values())

    @property
    def net(self) -> int:
        """What is paid out."""
        return self.gross - sum(self.deductions.values())


def share_of(starts_on: dt.date, ends_on: dt.date, hired_on: dt.date, left_on: dt.date | None) -> Fraction:
    """Return how many months' pay a period is for somebody: each day is one of its month's days."""
    first, last = max(starts_on, hired_on), min(ends_on, left_on or ends_on)
    share, day = Fraction(0), first
    while day <= last:
        days = calendar.monthrange(day.year, day.month)[1]
        end = min(last, day.replace(day=days))
        share += Fraction((end - day).days + 1, days)
        day = end + dt.timedelta(days=1)
    return share


def payslip(salary_cents: int, allowance_cents: int, months: Fraction) -> Payslip:
    """Return what somebody gets.

    Args:
        salary_cents: A month's pay.
        allowance_cents: What comes on top each month.
        months: How many months' pay the period is, as `share_of` says.
    """
    earnings = {"salary": round(salary_cents * months)}
    if allowance := round(allowance_cents * months):
        earnings["allowance"] = allowance
    gross = sum(earnings.values())
    pension = round(gross * PENSION)
    deductions = {
        "pension": pension,
        "social security": round(gross * SOCIAL_SECURITY),
        "income tax": _tax(gross - pension, months),
    }
    return Payslip(earnings, deductions)


def _tax(taxable: int, months: Fraction) -> int:
    """Return the tax: the brackets are a month's, and widen or narrow with the period."""
    tax, above = Fraction(0), Fraction(taxable)
    for lower, rate in BRACKETS:
        begin = lower * months
        if above > begin:
            tax += (above - begin) * rate
            above = begin
    return round(tax)
