"""Settings: where a value comes from, and what is said about a wrong one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_understudy import Understudy
from flask_understudy.config import Config
from flask_understudy.errors import ConfigError, NotInitialised
from flask_understudy.policy import QueuePolicy
from tests.flask_understudy.conftest import MakeSite


def read(config: dict[str, Any] | None = None, **environ: str) -> Config:
    return Config.from_mapping(config or {}, environ)


@pytest.mark.requirement("H04", "H05", "H06", "H07", "H08", "H13", "H14", "G07", "G08", "G09", "F06")
@pytest.mark.parametrize(
    ("key", "attribute", "default", "given", "value"),
    [
        ("QUEUE_CONCURRENCY", "concurrency", 5, "10", 10),
        ("QUEUE_POLL_INTERVAL", "poll_interval_ms", 1000, "250", 250),
        ("QUEUE_SHUTDOWN_TIMEOUT", "shutdown_timeout_ms", 30_000, "10000", 10_000),
        ("SCHEDULER_ENABLED", "scheduler_enabled", False, "true", True),
        ("SCHEDULER_POLL_INTERVAL", "scheduler_poll_ms", 60_000, "30000", 30_000),
        ("QUEUE_MAX_RETRIES", "max_attempts", None, "3", 3),
        ("QUEUE_BACKOFF_DELAY", "backoff_ms", 5000, "1000", 1000),
    ],
)
def test_a_seed_s_variable_has_its_default_and_is_read(
    key: str, attribute: str, default: object, given: str, value: object
) -> None:
    assert getattr(read(), attribute) == default
    assert getattr(read(**{key: given}), attribute) == value


@pytest.mark.requirement("H17")
def test_environment_beats_app_config() -> None:
    assert read({"QUEUE_CONCURRENCY": 2}, QUEUE_CONCURRENCY="9").concurrency == 9
    assert read({"QUEUE_CONCURRENCY": 2}).concurrency == 2


@pytest.mark.requirement("H17")
def test_environment_beats_app_config_of_a_real_application(
    make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_RUNWAY", "17")
    assert make_site(sqlite_ledger, UNDERSTUDY_RUNWAY=5).state.config.runway == 17


@pytest.mark.requirement("H15", "H16", "C09")
def test_all_settings_can_stand_in_the_application_s_configuration() -> None:
    config = read(
        {
            "UNDERSTUDY_ENABLED": True,
            "REDIS_URL": "redis://cache:6380/1",
            "QUEUE_CONCURRENCY": 10,
            "QUEUE_MAX_RETRIES": 3,
            "SCHEDULER_ENABLED": True,
            "UNDERSTUDY_QUEUES": {
                "email": {"priority": 1, "attempts": 5, "min_backoff": 5000, "backoff_factor": 5, "time_limit": 30_000},
                "exports": {"keep_failed": timedelta(days=30)},
            },
        }
    )
    assert config.transport == "redis://cache:6380/1"
    assert (config.enabled, config.concurrency, config.max_attempts, config.scheduler_enabled) == (True, 10, 3, True)
    assert config.queues["email"] == QueuePolicy(
        priority=1, attempts=5, min_backoff=5000, backoff_factor=5, time_limit=30_000
    )
    assert config.queues["exports"].keep_failed == timedelta(days=30)


@pytest.mark.requirement("H17")
@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("UNDERSTUDY_RUNAWAY", "Did you mean UNDERSTUDY_RUNWAY?"),
        ("UNDERSTUDY_LEASE_SECOND", "Did you mean UNDERSTUDY_LEASE_SECONDS?"),
        ("UNDERSTUDY_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", "docs/configuration.md lists the keys"),
    ],
)
@pytest.mark.parametrize("where", ["config", "environment"])
def test_an_unknown_key_is_refused_with_the_nearest_one(key: str, hint: str, where: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read({key: 1}) if where == "config" else read(**{key: "1"})
    assert key in str(refusal.value)
    assert hint in str(refusal.value)


@pytest.mark.requirement("H17")
@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("QUEUE_CONCURRENCY", "many", "a whole number, 1 or more"),
        ("QUEUE_CONCURRENCY", 0, "a whole number, 1 or more"),
        ("QUEUE_CONCURRENCY", True, "a whole number, 1 or more"),
        ("QUEUE_CONCURRENCY", 2.5, "a whole number, 1 or more"),
        ("QUEUE_POLL_INTERVAL", 1, "a whole number, 10 or more"),
        ("QUEUE_BACKOFF_DELAY", -1, "a whole number, 0 or more"),
        ("QUEUE_MAX_RETRIES", 0, "a whole number, 1 or more"),
        ("SCHEDULER_ENABLED", "perhaps", "true or false"),
        ("UNDERSTUDY_ENABLED", "maybe", "true or false"),
        ("UNDERSTUDY_WORKER", "inprocess", "one of auto, in-process, off"),
        ("UNDERSTUDY_FALLBACK", "wait", "one of sync, hold, fail"),
        ("UNDERSTUDY_LEASE_SECONDS", "long", "a number of seconds above 0"),
        ("UNDERSTUDY_LEASE_SECONDS", 0, "a number of seconds above 0"),
        ("UNDERSTUDY_LEASE_SECONDS", float("nan"), "a number of seconds above 0"),
        ("UNDERSTUDY_TIMEZONE", 7, "an IANA time zone such as Europe/Berlin"),
        ("UNDERSTUDY_TIMEZONE", "Mars/Phobos", "an IANA time zone such as Europe/Berlin"),
        ("UNDERSTUDY_REST_PREFIX", 7, "a text"),
        ("UNDERSTUDY_QUEUES", ["email"], "a mapping of queue name to policy"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_do(key: str, value: object, remedy: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read({key: value})
    assert str(refusal.value) == f"{key} is {value!r}; it takes {remedy}."


@pytest.mark.parametrize(
    ("given", "value"), [("1", True), ("yes", True), ("ON", True), ("0", False), ("off", False), (False, False)]
)
def test_switches_are_read_the_way_people_write_them(given: object, value: bool) -> None:
    assert read({"SCHEDULER_ENABLED": given}).scheduler_enabled is value


def test_durations_may_be_a_timedelta() -> None:
    assert read({"UNDERSTUDY_LEASE_SECONDS": timedelta(minutes=1)}).lease_seconds == 60


@pytest.mark.requirement("H17")
def test_an_empty_variable_counts_as_absent() -> None:
    assert read(QUEUE_CONCURRENCY="", REDIS_URL="").concurrency == 5
    assert read(REDIS_URL="").transport == "database"


@pytest.mark.requirement("H15", "H17", "C09")
@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"attemps": 3}, "['email']['attemps'] is no policy.*Did you mean 'attempts'"),
        ({"attempts": "three"}, "['email']['attempts'] is 'three'"),
        ({"time_limit": -1}, "['email']['time_limit'] is -1"),
        ({"keep_failed": 7}, "['email']['keep_failed'] is 7; it takes a timedelta"),
        ({"keep_completed": timedelta(days=-1)}, "it takes a timedelta of 0 or more"),
        ({"attempts": 3, "max_retries": 3}, "attempts=3 and max_retries=3 disagree; attempts = max_retries"),
        ("fast", "['email'] is 'fast'; it takes a mapping"),
    ],
)
def test_a_wrong_queue_policy_is_refused(policy: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[").replace("]", r"\]")):
        read({"UNDERSTUDY_QUEUES": {"email": policy}})


@pytest.mark.requirement("V08", "V09", "G06", "G07")
def test_the_smallest_sample_configuration_works() -> None:
    config = read({"UNDERSTUDY_TRANSPORT": "memory", "UNDERSTUDY_WORKER": "in-process", "SCHEDULER_ENABLED": True})
    assert (config.enabled, config.transport, config.worker) == (True, "database", "in-process")
    assert (config.concurrency, config.scheduler_enabled) == (5, True)


@pytest.mark.requirement("V09", "G12")
def test_the_production_sample_configuration_works() -> None:
    config = read(
        {"UNDERSTUDY_WORKER": "off"},
        REDIS_URL="redis://cache:6379",
        QUEUE_CONCURRENCY="10",
        SCHEDULER_ENABLED="true",
        SCHEDULER_POLL_INTERVAL="30000",
    )
    assert (config.worker, config.concurrency) == ("off", 10)
    assert (config.scheduler_enabled, config.scheduler_poll_ms) == (True, 30_000)


@pytest.mark.requirement("H17")
def test_a_wrong_setting_stops_the_application_at_its_start(make_site: MakeSite, sqlite_ledger: str) -> None:
    with pytest.raises(ConfigError, match="QUEUE_CONCURRENCY is 'x'"):
        make_site(sqlite_ledger, QUEUE_CONCURRENCY="x")


def test_the_database_object_must_be_given() -> None:
    with pytest.raises(NotInitialised, match=r"Understudy\(db\), or init_app\(app, db\)"):
        Understudy().init_app(Flask("plain"))


def test_the_database_must_know_the_application_first() -> None:
    with pytest.raises(NotInitialised, match=r"Call db.init_app\(app\) before jobs.init_app\(app\)"):
        Understudy(SQLAlchemy()).init_app(Flask("plain"))


@pytest.mark.requirement("H17", "M08")
@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("UNDERSTUDY_METRICS_PATH", "metrics", "a path such as /metrics"),
        ("UNDERSTUDY_METRICS_PATH", "/m<x>", "a path such as /metrics"),
        ("UNDERSTUDY_ALERT_DEPTH", "0", "a whole number, 1 or more"),
        ("UNDERSTUDY_ALERT_FAILURE_RATE", "10", "a share above 0 and up to 1"),
        ("UNDERSTUDY_ALERT_FAILURE_RATE", "nan", "a share above 0 and up to 1"),
        ("UNDERSTUDY_ALERT_EMAILS", "ops", "addresses such as ops@example.com"),
        ("UNDERSTUDY_ALERT_EMAILS", {"a": 1}, "addresses such as ops@example.com"),
        ("UNDERSTUDY_ALERT_WEBHOOK", "http://example.com/x", "an https:// URL"),
        ("UNDERSTUDY_ALERT_WEBHOOK", "https://", "an https:// URL"),
        ("UNDERSTUDY_ALERT_WEBHOOK", "https://[::1", "an https:// URL"),
    ],
)
def test_settings_of_alerts_and_metrics_say_what_they_take(key: str, value: object, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        Config.from_mapping({key: value}, {})


@pytest.mark.requirement("M08")
def test_addresses_for_alerts_are_a_list_or_a_text() -> None:
    both = ("ops@example.com", "night@example.com")
    for value in (" ops@example.com, night@example.com,", list(both)):
        assert Config.from_mapping({"UNDERSTUDY_ALERT_EMAILS": value}, {}).alert_emails == both
    assert Config.from_mapping({}, {"UNDERSTUDY_ALERT_EMAILS": ""}).alert_emails == ()


@pytest.mark.requirement("H17")
def test_a_lease_too_short_for_a_busy_worker_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"UNDERSTUDY_LEASE_SECONDS is '0.1'; it takes 0.5 s or more: a worker that"):
        read(UNDERSTUDY_LEASE_SECONDS="0.1")
