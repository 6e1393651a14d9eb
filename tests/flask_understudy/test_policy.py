"""How long a retry waits, and which of several answers wins."""

from __future__ import annotations

import pytest

from flask_understudy.errors import ConfigError
from flask_understudy.policy import agreed_retries, backoff_ms
from tests.flask_understudy.conftest import MakeSite, Site


@pytest.mark.requirement("D16", "V01")
def test_delays_follow_the_seed_s_table() -> None:
    table = [backoff_ms(retry, base=5000, factor=5, ceiling=3_600_000, jitter=0) for retry in range(1, 5)]
    assert table == [5_000, 25_000, 125_000, 625_000]


@pytest.mark.requirement("D13", "C3")
def test_webhook_delays_grow_from_ten_seconds() -> None:
    table = [backoff_ms(retry, base=10_000, factor=5, ceiling=3_600_000, jitter=0) for retry in range(1, 5)]
    assert table == [10_000, 50_000, 250_000, 1_250_000]


@pytest.mark.requirement("C3")
def test_a_delay_never_exceeds_its_ceiling_however_many_retries() -> None:
    assert backoff_ms(3, base=5000, factor=5, ceiling=60_000, jitter=0) == 60_000
    assert backoff_ms(1_000_000, base=5000, factor=5, ceiling=60_000, jitter=0) == 60_000


@pytest.mark.requirement("C3")
def test_jitter_spreads_delays_both_ways_within_its_share() -> None:
    delays = {backoff_ms(1, base=10_000, factor=2, ceiling=60_000, jitter=0.1) for _ in range(200)}
    assert min(delays) >= 9_000
    assert max(delays) <= 11_000
    assert min(delays) < 9_800 < 10_200 < max(delays)


@pytest.mark.requirement("C03", "D05")
@pytest.mark.parametrize(
    ("given", "retries"),
    [
        ({"attempts": 4}, 3),
        ({"max_retries": 3}, 3),
        ({"attempts": 4, "max_retries": 3}, 3),
        ({"attempts": 1}, 0),
        ({"max_retries": None}, None),
        ({}, False),
    ],
)
def test_attempts_and_retries_are_two_words_for_one_thing(given: dict, retries: object) -> None:
    assert agreed_retries(given, "here") is retries or agreed_retries(given, "here") == retries


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attempts": 3, "max_retries": 3}, "here: attempts=3 and max_retries=3 disagree; attempts = max_retries"),
        ({"attempts": 3, "max_retries": None}, "disagree"),
        ({"attempts": 0}, "attempts is 0; it takes a whole number, 1 or more"),
        ({"max_retries": -1}, "max_retries is -1; it takes a whole number, 0 or more"),
        ({"max_retries": True}, "max_retries is True"),
        ({"max_retries": 1.5}, "max_retries is 1.5"),
    ],
)
def test_disagreeing_or_wrong_numbers_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        agreed_retries(given, "here")


def declared(site: Site, **options: object):
    @site.jobs.actor(queue_name="email", actor_name="work", **options)
    def work() -> None: ...

    return work


LAYERS = ("call", "actor", "queue", "environment", "library")


@pytest.mark.requirement("C03", "C09", "D05", "D09", "H13")
@pytest.mark.parametrize(
    ("upto", "attempts"), [("call", 9), ("actor", 8), ("queue", 7), ("environment", 6), ("library", 4)]
)
def test_attempts_of_the_nearest_layer_win(
    make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch, upto: str, attempts: int
) -> None:
    given = LAYERS[LAYERS.index(upto) :]
    if "environment" in given:
        monkeypatch.setenv("QUEUE_MAX_RETRIES", "6")
    queues = {"email": {"max_retries": 6}} if "queue" in given else {}
    site = make_site(sqlite_ledger, UNDERSTUDY_QUEUES=queues)
    work = declared(site, **({"attempts": 8} if "actor" in given else {}))

    message = work.send_with_options(**({"max_retries": 8} if "call" in given else {}))

    assert site.job(message).max_attempts == attempts


@pytest.mark.requirement("C06", "C07", "C10", "G13", "C5")
@pytest.mark.parametrize(("upto", "priority"), [("call", 1), ("actor", 2), ("queue", 4), ("library", 3)])
def test_priority_of_the_nearest_layer_wins(make_site: MakeSite, sqlite_ledger: str, upto: str, priority: int) -> None:
    given = ("call", "actor", "queue", "library")
    given = given[given.index(upto) :]
    site = make_site(sqlite_ledger, UNDERSTUDY_QUEUES={"email": {"priority": 4}} if "queue" in given else {})
    work = declared(site, **({"priority": 2} if "actor" in given else {}))

    message = work.send_with_options(**({"priority": 1} if "call" in given else {}))

    assert site.job(message).priority == priority


@pytest.mark.requirement("C06", "C5")
@pytest.mark.parametrize("where", ["call", "actor"])
def test_priority_zero_is_legal_and_outranks_one(make_site: MakeSite, sqlite_ledger: str, where: str) -> None:
    site = make_site(sqlite_ledger, UNDERSTUDY_QUEUES={"email": {"priority": 4}})
    work = declared(site, **({"priority": 0} if where == "actor" else {}))
    message = work.send_with_options(**({"priority": 0} if where == "call" else {}))
    assert site.job(message).priority == 0


@pytest.mark.requirement("V01", "D16", "H14")
@pytest.mark.parametrize(
    ("upto", "waits"),
    [
        ("call", [100, 700]),
        ("actor", [200, 1200]),
        ("queue", [300, 1500]),
        ("environment", [1000, 2000]),
        ("library", [5000, 10_000]),
    ],
)
def test_backoff_of_the_nearest_layer_wins(
    make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch, upto: str, waits: list[int]
) -> None:
    given = LAYERS[LAYERS.index(upto) :]
    monkeypatch.setenv("QUEUE_BACKOFF_DELAY", "1000" if "environment" in given else "5000")
    queues = {"email": {"min_backoff": 300, "backoff_factor": 5}} if "queue" in given else {}
    site = make_site(sqlite_ledger, UNDERSTUDY_QUEUES=queues)
    actor = {"min_backoff": 200, "backoff_factor": 6} if "actor" in given else {}
    call = {"min_backoff": 100, "backoff_factor": 7} if "call" in given else {}

    @site.jobs.actor(queue_name="email", jitter=0, **actor)
    def explode() -> None:
        raise RuntimeError

    message = explode.send_with_options(**call)

    assert [wait_after_a_run(site, message), wait_after_a_run(site, message)] == waits


def wait_after_a_run(site: Site, message) -> int:
    """Run the job once; ms from the end of its attempt to when it is due."""
    job = site.worker.run(message)
    with site.state.database.statement() as connection:
        ended = connection.exec_driver_sql("SELECT max(finished_at) FROM understudy_attempts").scalar_one()
    from datetime import UTC, datetime

    ended = datetime.fromisoformat(ended).replace(tzinfo=UTC)
    return round((job.run_at - ended).total_seconds() * 1000, -2)


@pytest.mark.requirement("D16", "D09", "D10", "V01", "C35")
def test_a_job_of_five_attempts_waits_5_25_125_and_625_seconds(make_site: MakeSite, sqlite_ledger: str) -> None:
    policy = {"attempts": 5, "min_backoff": 5000, "backoff_factor": 5, "jitter": 0}
    site = make_site(sqlite_ledger, UNDERSTUDY_QUEUES={"email": policy})

    @site.jobs.actor(queue_name="email")
    def explode() -> None:
        raise RuntimeError

    message = explode.send()

    assert [wait_after_a_run(site, message) for _ in range(4)] == [5_000, 25_000, 125_000, 625_000]
    assert site.worker.run(message).state == "failed"
