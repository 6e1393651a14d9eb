"""What is a schedule's expression, and that nonsense is refused at once and clearly."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_understudy.errors import InvalidSchedule
from flask_understudy.timing import CRON, describe, latest_slot, next_slot, parse, trigger_of


def slots(expression: str, after: datetime, n: int, zone: str = "UTC") -> list[str]:
    trigger, found = trigger_of(expression, zone), []
    slot: datetime | None = after
    while len(found) < n and (slot := next_slot(trigger, slot)) is not None:
        found.append(slot.strftime("%Y-%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        ("0 0 * jan-mar mon-fri", "0 0 * JAN-MAR MON-FRI"),
        ("0 0 * * FRI-SUN", "0 0 * * FRI-7"),
        ("0 4-4/3 * * *", "0 4 * * *"),
        ("  5   4 * * *  ", "5 4 * * *"),
        ("@Daily", "0 0 * * *"),
    ],
)
def test_fields_are_read_in_capitals_and_made_plain(given_: str, meant: str) -> None:
    found = parse(given_)
    assert (found.kind, found.cron) == (CRON, meant)


def test_last_days_and_nth_days() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert slots("0 0 L * *", begin, 2) == ["2026-01-31 00:00", "2026-02-28 00:00"]
    assert slots("0 0 LW * *", begin, 2) == ["2026-01-30 00:00", "2026-02-27 00:00"]
    assert slots("0 9 * * MON#2", begin, 2) == ["2026-01-12 09:00", "2026-02-09 09:00"]
    assert slots("0 9 * * 5L", begin, 2) == ["2026-01-30 09:00", "2026-02-27 09:00"]


@pytest.mark.parametrize(
    ("expression", "zone", "slot"),
    [
        ("2026-12-24T09:00", "UTC", "2026-12-24 09:00"),
        ("2026-12-24 09:00", "Europe/Berlin", "2026-12-24 08:00"),
        ("at 2026-12-24T09:00:30Z", "Europe/Berlin", "2026-12-24 09:00"),
        ("2026-12-24T09:00+05:30", "America/New_York", "2026-12-24 03:30"),
        ("2026-03-08T02:30", "America/New_York", "2026-03-08 07:00"),  # skipped: when the clocks have changed
        ("2026-11-01T01:30", "America/New_York", "2026-11-01 05:30"),  # twice: the first time
    ],
)
def test_a_date_is_one_slot(expression: str, zone: str, slot: str) -> None:
    assert slots(expression, datetime(2026, 1, 1, tzinfo=UTC), 3, zone) == [slot]


def test_a_date_that_has_passed_is_no_slot_any_more() -> None:
    trigger = trigger_of("2026-12-24T09:00", "UTC")
    date = datetime(2026, 12, 24, 9, tzinfo=UTC)
    assert next_slot(trigger, date) is None
    assert latest_slot(trigger, date) == date


@pytest.mark.requirement("F07")
@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("61 * * * *", "its minute is '61'; it takes 0 to 59"),
        ("* * * 13 *", "its month is '13'; it takes 1 to 12 or JAN to DEC"),
        ("* * * * FUN", "its day of week is 'FUN'; it takes 0 to 7 or SUN to SAT"),
        ("*/60 * * * *", r"its minute is '\*/60'; it takes steps from 1 to 59"),
        ("*/0 * * * *", "steps from 1 to 59"),
        ("0 0 * * 5-1", "ranges from the lower to the higher value"),
        ("0 0 * * MON#6", "the first to the fifth of a month"),
        ("0 0 30 2 *", "never fires: there is no such date"),
        ("0 0 31 4,6,9,11 *", "never fires: there is no such date"),
        ("0 0 */15 * MON#2", "never fires: there is no such date"),
        ("0 0 ? * *", "its day of month is"),
        ("0 0 ,1 * *", "its day of month is ''"),
        ("0 0 1,, * *", "its day of month is ''"),
        ("0 0 1-2-3 * *", "its day of month is"),
        ("0 0 -1 * *", "its day of month is '-1'"),
        ("0 0 ١ * *", "its day of month is"),
        ("* * * * * *", "is no schedule; it takes five cron fields"),
        ("@reboot", "there are @hourly, @daily"),
        ("every 999999999 weeks", "is too rare; it takes up to 3660 days"),
        ("every 100000 days", "is too rare"),
        ("every 0 days", "never fires"),
        ("every 1.5 hours", "is no schedule"),
        ("2026-02-30T09:00", "is no date"),
        ("2026-02-28T25:00", "is no date"),
        ("9999-12-31T23:59", "is no date that can be; it takes years 1970 to 2199"),
        ("2026-02-28T09:00+99:00", "is no date"),
        ("0," * 40 + "0 * * * *", "up to 60 values|its minute"),
        ("0," * 200 + "0 * * * *", "a text of 255 characters at the most"),
        ("9" * 10_000_000, "a text of 255 characters at the most"),
        ("*/" + "9" * 200 + " * * * *", "its minute is"),
        ("9" * 200 + " * * * *", "its minute is"),
        (" \n\t ", "is no schedule"),
        ("\x00 * * * *", "its minute is"),
    ],
)
def test_nonsense_is_refused_with_what_would_be_right(expression: str, message: str) -> None:
    if expression.startswith("0," * 40) and len(expression) < 255:
        expression = expression.replace("0," * 40, "0," * 61, 1)
    with pytest.raises(InvalidSchedule, match=message) as refused:
        trigger_of(expression, "UTC")
    assert len(str(refused.value)) < 1000


@pytest.mark.requirement("F07")
@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", ["*"], object()])
def test_what_is_no_text_is_refused(expression: object) -> None:
    with pytest.raises(InvalidSchedule, match="is no schedule; it takes a text"):
        parse(expression)  # type: ignore[arg-type]
    with pytest.raises(InvalidSchedule, match="is no schedule; it takes a text"):
        trigger_of(expression, "UTC")  # type: ignore[arg-type]


@pytest.mark.requirement("F07")
@pytest.mark.parametrize(
    "zone", [None, 5, ["UTC"], "x" * 10_000, "localtime", "posixrules", "posix/Europe/Berlin", "../UTC"]
)
def test_what_is_no_zone_is_refused(zone: object) -> None:
    with pytest.raises(InvalidSchedule, match="is no time zone") as refused:
        trigger_of("@daily", zone)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 200


@pytest.mark.requirement("F07")
@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=300), st.text(alphabet="0123456789*/,-#LW MONJANevery@at:TZ+", max_size=300)))
@example("* * * * 0L")
@example("0 0 29 2 */7")
@example("0 0 * 2 1#5")
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        trigger = trigger_of(text, "Europe/Berlin")
    except InvalidSchedule:
        return
    slot = next_slot(trigger, datetime(2026, 1, 1, tzinfo=UTC))
    assert slot is None or slot.second == 0 or "every" in text.lower() or ":" in text
    assert describe(text)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 9 * * 1-5", "At 09:00 on Monday through Friday"),
        ("*/15 * * * *", "Every 15th minute of every hour"),
        ("@monthly", "At 00:00 on the first day of every month"),
        ("every 90 minutes", "Every 90 minutes"),
        ("every hour", "Every hour"),
        ("every 48 hours", "Every 2 days"),
        ("2026-12-24T09:00", "Once, on 2026-12-24 at 09:00"),
        ("2026-12-24T09:00Z", "Once, on 2026-12-24 at 09:00 UTC"),
    ],
)
def test_an_expression_is_described_in_words(expression: str, words: str) -> None:
    assert describe(expression) == words
