"""When a schedule fires."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from flask_understudy.errors import ConfigError
from flask_understudy.timing import next_slot, trigger_of


def slots(expression: str, after: str, n: int, zone: str = "UTC") -> list[str]:
    """The next `n` slots after a local time, as local times."""
    local = ZoneInfo(zone)
    time = datetime.fromisoformat(after).replace(tzinfo=local).astimezone(UTC)
    found = []
    trigger = trigger_of(expression, zone)
    for _ in range(n):
        slot = next_slot(trigger, time)
        assert slot is not None
        assert slot.tzinfo is UTC
        assert slot > time
        found.append(slot.astimezone(local).strftime("%Y-%m-%d %H:%M"))
        time = slot
    return found


@pytest.mark.requirement("V03")
@pytest.mark.parametrize("day", ["0", "7", "sun", "SUN", "Sun"])
def test_sunday_is_nought_and_seven_and_a_name(day: str) -> None:
    assert slots(f"0 4 * * {day}", "2026-01-01", 2) == ["2026-01-04 04:00", "2026-01-11 04:00"]


@pytest.mark.parametrize(("day", "date"), [("1", "05"), ("mon", "05"), ("5", "02"), ("6", "03"), ("sat", "03")])
def test_the_other_days_follow(day: str, date: str) -> None:
    assert slots(f"0 0 * * {day}", "2026-01-01 12:00", 1) == [f"2026-01-{date} 00:00"]


def test_either_day_field_is_enough() -> None:
    assert slots("0 0 13 * 5", "2026-02-01", 5) == [
        "2026-02-06 00:00",
        "2026-02-13 00:00",
        "2026-02-20 00:00",
        "2026-02-27 00:00",
        "2026-03-06 00:00",
    ]


def test_one_day_field_alone_is_meant() -> None:
    assert slots("0 3 1 * *", "2026-01-15", 2) == ["2026-02-01 03:00", "2026-03-01 03:00"]
    assert slots("0 9 * * 1-5", "2026-01-02 10:00", 2) == ["2026-01-05 09:00", "2026-01-06 09:00"]


@pytest.mark.requirement("E10")
def test_steps_ranges_lists_and_names() -> None:
    assert slots("*/15 * * * *", "2026-01-01 00:07", 3) == [f"2026-01-01 00:{m}" for m in (15, 30, 45)]
    assert slots("0 8-10/2,20 * * *", "2026-01-01", 3) == [f"2026-01-01 {h}:00" for h in ("08", "10", "20")]
    assert slots("0 0 1 jan,jul *", "2026-01-02", 2) == ["2026-07-01 00:00", "2027-01-01 00:00"]


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("@hourly", "2026-01-01 01:00"),
        ("@daily", "2026-01-02 00:00"),
        ("@midnight", "2026-01-02 00:00"),
        ("@weekly", "2026-01-04 00:00"),
        ("@monthly", "2026-02-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
    ],
)
def test_names_of_crontab(name: str, slot: str) -> None:
    assert slots(name, "2026-01-01", 1) == [slot]


def test_a_leap_day_comes_when_there_is_one() -> None:
    assert slots("0 0 29 2 *", "2026-01-01", 2) == ["2028-02-29 00:00", "2032-02-29 00:00"]


@pytest.mark.requirement("E08")
def test_a_slot_is_a_local_time() -> None:
    assert slots("0 9 * * *", "2026-03-07 09:00", 2, "America/New_York") == ["2026-03-08 09:00", "2026-03-09 09:00"]
    trigger = trigger_of("0 9 * * *", "America/New_York")
    before = next_slot(trigger, datetime(2026, 3, 7, 0, tzinfo=UTC))
    after = next_slot(trigger, datetime(2026, 3, 9, 0, tzinfo=UTC))
    assert (before, after) == (datetime(2026, 3, 7, 14, tzinfo=UTC), datetime(2026, 3, 9, 13, tzinfo=UTC))


class TestChangeOfClocks:
    """What was skipped runs once after it, and nothing runs twice (New York: 2026-03-08 and 2026-11-01 at 2:00)."""

    zone = "America/New_York"

    def test_a_time_that_is_skipped_runs_once_after_it(self) -> None:
        assert slots("30 2 * * *", "2026-03-07 02:30", 2, self.zone) == ["2026-03-08 03:00", "2026-03-09 02:30"]

    def test_a_time_that_comes_twice_runs_once(self) -> None:
        assert slots("30 1 * * *", "2026-10-31 01:30", 2, self.zone) == ["2026-11-01 01:30", "2026-11-02 01:30"]

    def test_every_hour_means_every_hour(self) -> None:
        trigger, time = trigger_of("0 * * * *", self.zone), datetime(2026, 11, 1, 4, tzinfo=UTC)
        found = []
        for _ in range(4):
            time = next_slot(trigger, time)
            found.append(time.hour)
        assert found == [5, 6, 7, 8]

    def test_every_hour_in_spring(self) -> None:
        trigger, time = trigger_of("0 * * * *", self.zone), datetime(2026, 3, 8, 5, tzinfo=UTC)
        found = []
        for _ in range(3):
            time = next_slot(trigger, time)
            found.append(time.hour)
        assert found == [6, 7, 8]


@pytest.mark.requirement("E09", "E11")
@pytest.mark.parametrize(
    ("expression", "minutes"),
    [
        ("every 1 hour", 60),
        ("every 30 minutes", 30),
        ("every 1 day", 1440),
        ("every minute", 1),
        ("Every 2 Hours", 120),
        ("every week", 10_080),
        ("  every 90 seconds ", 1.5),
    ],
)
def test_intervals(expression: str, minutes: float) -> None:
    trigger = trigger_of(expression, "UTC")
    first = next_slot(trigger, datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    second = next_slot(trigger, first)
    assert (second - first).total_seconds() == minutes * 60
    assert next_slot(trigger, first) == next_slot(trigger_of(expression, "UTC"), first), (
        "no drift from process to process"
    )


def test_an_interval_of_days_keeps_its_length_over_a_change_of_clocks() -> None:
    trigger = trigger_of("every 1 day", "America/New_York")
    first = next_slot(trigger, datetime(2026, 3, 7, 12, tzinfo=UTC))
    assert (next_slot(trigger, first) - first).total_seconds() == 86_400


@pytest.mark.requirement("F07")
@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "is no schedule; it takes five cron fields, `@daily` and the like, `every 30 minutes`, or a date"),
        ("* * * *", "is no schedule"),
        ("* * * * * *", "is no schedule"),
        ("every", "is no schedule"),
        ("every 0 minutes", "never fires; it takes `every 1 second` or more"),
        ("every -5 minutes", "is no schedule"),
        ("every 5 fortnights", "is no schedule"),
        ("60 * * * *", "is no cron expression"),
        ("* 24 * * *", "is no cron expression"),
        ("* * 0 * *", "is no cron expression"),
        ("* * * 13 *", "is no cron expression"),
        ("* * * * 8", "is no cron expression"),
        ("x * * * *", "is no cron expression"),
        ("*/0 * * * *", "is no cron expression"),
        ("0 0 31 2 *", "no"),
        ("* " * 200, "is no schedule"),
        ("@reboot", "is no schedule"),
    ],
)
def test_nonsense_is_refused(expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trigger_of(expression, "UTC")


@pytest.mark.requirement("F07")
@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "EST5EDT\x00"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match="is no time zone; it takes an IANA name such as Europe/Berlin"):
        trigger_of("* * * * *", zone)
