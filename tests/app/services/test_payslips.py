"""Earnings and deductions of one employee, counted by hand (requirement A02)."""

import datetime as dt
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.payslips import payslip, share_of

MAY = (dt.date(2026, 5, 1), dt.date(2026, 5, 31))


@pytest.mark.requirement("A02")
@pytest.mark.parametrize(
    ("salary", "allowance", "pension", "social", "tax"),
    [
        (300_000, 0, 15_000, 22_950, 37_000),  # 2,850 after the pension: 20 % of 1,850
        (600_000, 20_000, 31_000, 47_430, 135_600),  # 5,890: 20 % of 3,000 and 40 % of 1,890
        (90_000, 0, 4_500, 6_885, 0),
        (0, 0, 0, 0, 0),
    ],
)
def test_a_month_s_payslip(salary: int, allowance: int, pension: int, social: int, tax: int) -> None:
    slip = payslip(salary, allowance, Fraction(1))

    assert slip.earnings == {"salary": salary} | ({"allowance": allowance} if allowance else {})
    assert slip.deductions == {"pension": pension, "social security": social, "income tax": tax}
    assert slip.net == salary + allowance - pension - social - tax


@pytest.mark.requirement("A02")
@pytest.mark.parametrize(
    ("hired", "left", "share"),
    [
        (dt.date(2020, 1, 1), None, Fraction(1)),
        (dt.date(2026, 5, 16), None, Fraction(16, 31)),
        (dt.date(2020, 1, 1), dt.date(2026, 5, 1), Fraction(1, 31)),
        (dt.date(2026, 6, 1), None, Fraction(0)),
    ],
)
def test_who_comes_or_goes_is_paid_by_the_day(hired: dt.date, left: dt.date | None, share: Fraction) -> None:
    assert share_of(*MAY, hired, left) == share


def test_a_period_over_two_months_counts_each_month_s_days() -> None:
    period = dt.date(2026, 1, 31), dt.date(2026, 2, 14)

    assert share_of(*period, dt.date(2020, 1, 1), None) == Fraction(1, 31) + Fraction(14, 28)


@given(st.integers(0, 10_000_000), st.integers(0, 1_000_000), st.fractions(0, 3))
def test_nobody_owes_for_working_and_every_cent_is_somewhere(salary: int, allowance: int, months: Fraction) -> None:
    slip = payslip(salary, allowance, months)

    assert 0 <= slip.net <= slip.gross
    assert all(cents >= 0 for cents in (*slip.earnings.values(), *slip.deductions.values()))
