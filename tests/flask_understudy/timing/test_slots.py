"""The slots of random expressions, forwards and backwards, held against an oracle that looks at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_understudy.errors import InvalidSchedule
from flask_understudy.timing import latest_slot, next_slot, trigger_of
from tests.flask_understudy.timing.oracle import Oracle

DAYS = 3
TICK = timedelta(microseconds=1)

#: Zones with the days (UTC) before their clocks change: by an hour, by two, by half an hour, around Ramadan, never.
ZONES: dict[str, list[tuple[int, int, int]]] = {
    "America/New_York": [(2026, 3, 7), (2026, 10, 31), (2031, 3, 8), (2037, 10, 31)],
    "Europe/Berlin": [(2026, 3, 28), (2026, 10, 24), (2030, 3, 30)],
    "Antarctica/Troll": [(2026, 3, 28), (2026, 10, 24)],
    "Australia/Lord_Howe": [(2026, 4, 3), (2026, 10, 2), (2033, 4, 1)],
    "Pacific/Chatham": [(2026, 4, 3), (2026, 9, 25)],
    "America/St_Johns": [(2026, 3, 7), (2026, 10, 31)],
    "Africa/Casablanca": [(2026, 2, 14), (2026, 3, 21), (2029, 2, 10)],
    "Asia/Kathmandu": [(2028, 2, 28), (2026, 12, 30)],
    "UTC": [(2028, 2, 28), (2096, 2, 28), (2100, 2, 27)],
}


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> str:
    """A field: `*`, a number, a range, a list, with and without steps."""

    def term() -> str:
        first = draw(st.integers(low, high))
        base = draw(st.sampled_from(["*", str(first), f"{first}-{draw(st.integers(first, high))}"]))
        step = draw(st.sampled_from(["", "", f"/{draw(st.integers(1, high))}"]))
        return base + step

    return ",".join(term() for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """An expression whose months are mostly open, so that the days that are looked at have slots."""
    month = draw(st.sampled_from(["*", "*", "*", draw(fields(1, 12))]))
    return " ".join([draw(fields(0, 59)), draw(fields(0, 23)), draw(fields(1, 31)), month, draw(fields(0, 7))])


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and the beginning of days in which its clocks change, or a leap day comes."""
    zone = draw(st.sampled_from(sorted(ZONES)))
    return zone, datetime(*draw(st.sampled_from(ZONES[zone])), tzinfo=UTC)


def forwards(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    trigger, found, slot = trigger_of(expression, zone), [], begin - TICK
    while (following := next_slot(trigger, slot)) is not None and following < end:
        found.append(slot := following)
    return found


def backwards(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    trigger, found, upto = trigger_of(expression, zone), [], end - TICK
    while (slot := latest_slot(trigger, upto)) is not None and slot >= begin:
        found.append(slot)
        upto = slot - TICK
    return found[::-1]


@pytest.mark.requirement("V03", "G7", "E10")
@settings(max_examples=40, deadline=None)
@given(expression=expressions(), place=places())
def test_slots_are_what_a_look_at_every_minute_finds(expression: str, place: tuple[str, datetime]) -> None:
    zone, begin = place
    expected = Oracle(expression, zone).slots(begin, DAYS * 1440)
    try:
        trigger_of(expression, zone)
    except InvalidSchedule as problem:
        assert "there is no such date" in str(problem)
        assert expected == []
        return

    end = begin + timedelta(days=DAYS)

    assert forwards(expression, zone, begin, end) == expected
    assert backwards(expression, zone, begin, end) == expected


@pytest.mark.requirement("V03", "G7")
@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("30 2 * * *", "America/New_York"),
        ("*/30 1-3 * * *", "Australia/Lord_Howe"),
        ("15 2 29 2 *", "Europe/Berlin"),
        ("0 */3 13 * 5", "Africa/Casablanca"),
    ],
)
def test_slots_of_a_whole_year_are_what_a_look_at_every_minute_finds(expression: str, zone: str) -> None:
    begin, days = datetime(2027, 12, 20, tzinfo=UTC), 380

    expected = Oracle(expression, zone).slots(begin, days * 1440)

    end = begin + timedelta(days=days)
    assert forwards(expression, zone, begin, end) == expected
    assert backwards(expression, zone, begin, end) == expected


@pytest.mark.requirement("G7")
@settings(max_examples=100, deadline=None)
@given(
    expression=st.one_of(
        expressions(),
        st.sampled_from(
            ["every 1 second", "every 7 minutes", "every 3 days", "2026-06-01T09:30", "at 2030-01-01T00:00Z"]
        ),
    ),
    zone=st.sampled_from(sorted(ZONES)),
    seconds=st.integers(0, 40 * 365 * 86_400),
)
def test_the_way_back_leads_to_the_slot_that_the_way_there_found(expression: str, zone: str, seconds: int) -> None:
    try:
        trigger = trigger_of(expression, zone)
    except InvalidSchedule:
        return
    time = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=seconds % 3)

    slot = next_slot(trigger, time)

    if slot is not None:
        assert slot > time
        assert latest_slot(trigger, slot) == slot
        assert latest_slot(trigger, slot - TICK) == latest_slot(trigger, time), "there is none in between"
