"""Where the broker is, and what is said about an address that is none."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_understudy.config import Config
from flask_understudy.config.redacted import redacted
from flask_understudy.config.sqs import address_of
from flask_understudy.errors import ConfigError


def read(config: dict[str, Any] | None = None, **environ: str) -> Config:
    return Config.from_mapping(config or {}, environ)


@pytest.mark.requirement("H09", "G01", "V06", "V07")
@pytest.mark.parametrize(
    ("environ", "transport"),
    [
        ({}, "database"),
        ({"REDIS_URL": "redis://cache:6379"}, "redis://cache:6379"),
        ({"REDIS_URL": "rediss://:secret@cache:6390/2"}, "rediss://:secret@cache:6390/2"),
        ({"REDIS_URL": "redis://cache", "UNDERSTUDY_TRANSPORT": "database"}, "database"),
        ({"REDIS_URL": "redis://cache", "UNDERSTUDY_TRANSPORT": "memory"}, "database"),
        ({"REDIS_URL": "redis://cache", "UNDERSTUDY_TRANSPORT": "redis://other"}, "redis://other"),
    ],
)
def test_the_transport_is_a_matter_of_configuration(environ: dict[str, str], transport: str) -> None:
    assert read(**environ).transport == transport


@pytest.mark.requirement("H12")
@pytest.mark.parametrize(
    ("environ", "transport"),
    [
        ({"QUEUE_REDIS_HOST": "cache"}, "redis://cache:6379/0"),
        ({"QUEUE_REDIS_PORT": "6380"}, "redis://localhost:6380/0"),
        ({"QUEUE_REDIS_HOST": "cache", "QUEUE_REDIS_PASSWORD": "p@ss/word"}, "redis://:p%40ss%2Fword@cache:6379/0"),
    ],
)
def test_the_parts_of_a_redis_address_make_a_url(environ: dict[str, str], transport: str) -> None:
    assert read(**environ).transport == transport


@pytest.mark.requirement("H12", "C9")
def test_redis_url_wins_over_its_parts_and_a_difference_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        agreed = read(REDIS_URL="redis://cache:6379/3", QUEUE_REDIS_HOST="cache", QUEUE_REDIS_PORT="6379")
        assert not caplog.records
        differing = read(REDIS_URL="redis://:hidden@cache:6379/3", QUEUE_REDIS_HOST="other", QUEUE_REDIS_PORT="6380")

    assert (agreed.transport, differing.transport) == ("redis://cache:6379/3", "redis://:hidden@cache:6379/3")
    assert "REDIS_URL names cache:6379 and QUEUE_REDIS_* names other:6380; REDIS_URL is used" in caplog.text
    assert "hidden" not in caplog.text


@pytest.mark.requirement("H17")
@pytest.mark.parametrize("url", ["http://cache", "cache:6379", "amqps//x", "localhost"])
def test_a_url_that_is_no_transport_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no transport.*; it takes .*redis://host:6379/0 or rediss://"):
        read(REDIS_URL=url)


@pytest.mark.requirement("H12", "H17")
@pytest.mark.parametrize(
    "environ",
    [
        {"QUEUE_REDIS_HOST": "cache", "QUEUE_REDIS_PORT": "abc"},
        {"QUEUE_REDIS_PORT": "abc", "REDIS_URL": "redis://cache"},
        {"REDIS_URL": "redis://cache:abc/0"},
        {"REDIS_URL": "redis://cache:99999/0"},
    ],
)
def test_a_port_that_is_no_number_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="abc|99999"):
        read(**environ)


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(ConfigError) as refusal:
        read(REDIS_URL="http://user:hidden@cache")
    assert "hidden" not in str(refusal.value)
    assert redacted("redis://:hidden@cache:6379/0") == "redis://:***@cache:6379/0"


@pytest.mark.requirement("H12", "H17")
@pytest.mark.parametrize("key", ["REDIS_URL", "UNDERSTUDY_TRANSPORT"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h:notaport/0",
        "redis://[bad",
        "redis://:hunter2@h/abc",
        "redis://h/0/1",
        "http://h",
        "redis://h:0",
    ],
)
def test_a_wrong_address_of_redis_names_its_key_and_a_valid_form(key: str, url: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} is .*no transport.*redis://host:6379/0") as caught:
        read(**{key: url})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h/", "redis://:p@h:6380/15", "rediss://h?db=1", "unix:///run/redis.sock?db=1"]
)
def test_a_usable_address_of_redis_is_taken_as_it_is(url: str) -> None:
    assert read(REDIS_URL=url).transport == url


QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789/my-queue"


@pytest.mark.requirement("H03", "G04", "V09", "V07")
@pytest.mark.parametrize(
    ("environ", "transport"),
    [
        ({"SQS_QUEUE_URL": QUEUE}, "sqs://sqs.us-east-1.amazonaws.com/123456789/my-queue"),
        (
            {"SQS_QUEUE_URL": QUEUE, "UNDERSTUDY_TRANSPORT": "sqs", "REDIS_URL": "redis://cache"},
            "sqs://sqs.us-east-1.amazonaws.com/123456789/my-queue",
        ),
        ({"SQS_QUEUE_URL": QUEUE, "UNDERSTUDY_TRANSPORT": "database"}, "database"),
        ({"SQS_QUEUE_URL": QUEUE, "UNDERSTUDY_TRANSPORT": "redis://other"}, "redis://other"),
        ({"UNDERSTUDY_TRANSPORT": "sqs://sqs.eu-west-1.amazonaws.com/1/q"}, "sqs://sqs.eu-west-1.amazonaws.com/1/q"),
        ({"SQS_QUEUE_URL": "http://127.0.0.1:4566/000000000000/q"}, "sqs+http://127.0.0.1:4566/000000000000/q"),
        ({"UNDERSTUDY_TRANSPORT": "sqs+http://127.0.0.1:4566/0/q"}, "sqs+http://127.0.0.1:4566/0/q"),
    ],
)
def test_the_url_of_a_queue_is_enough_for_sqs(environ: dict[str, str], transport: str) -> None:
    assert read(**environ).transport == transport


@pytest.mark.requirement("H03")
def test_redis_url_wins_over_the_queue_url_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert read(REDIS_URL="redis://cache", SQS_QUEUE_URL=QUEUE).transport == "redis://cache"
    assert "Set UNDERSTUDY_TRANSPORT=sqs for SQS" in caplog.text


@pytest.mark.requirement("R05", "H03")
@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("ap-southeast-2.queue.amazonaws.com", "ap-southeast-2"),
        ("vpce-0a1b-c2d3.sqs.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("sqs.us-east-1.localhost.localstack.cloud:4566", "us-east-1"),
        ("queue.amazonaws.com", ""),
        ("127.0.0.1:4566", ""),
    ],
)
def test_the_host_of_a_queue_tells_the_region_and_is_the_endpoint(host: str, region: str) -> None:
    address = address_of(read(SQS_QUEUE_URL=f"https://{host}/1/q").transport)
    assert (address.region, address.endpoint, address.queue_url) == (
        region,
        f"https://{host}",
        f"https://{host}/1/q",
    )


@pytest.mark.requirement("H03", "H17")
@pytest.mark.parametrize(
    "url",
    [
        "my-queue",
        "https://sqs.us-east-1.amazonaws.com",
        "https://sqs.us-east-1.amazonaws.com/",
        "https://sqs.us-east-1.amazonaws.com:port/1/q",
        "https://[bad/1/q",
        "https://sqs.us-east-1.amazonaws.com/1/q?x=1",
        "https://sqs.us-east-1.amazonaws.com/1/a queue",
        "ftp://sqs.us-east-1.amazonaws.com/1/q",
        "arn:aws:sqs:us-east-1:1:q",
        "redis://cache",
    ],
)
def test_what_is_no_queue_is_refused_with_a_valid_form(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^SQS_QUEUE_URL is .*no SQS queue.*such as https://sqs\."):
        read(SQS_QUEUE_URL=url)


@pytest.mark.requirement("H03", "H17")
def test_sqs_without_a_queue_and_wrong_urls_of_the_transport_are_refused() -> None:
    with pytest.raises(ConfigError, match="SQS_QUEUE_URL does not name the queue; it takes"):
        read(UNDERSTUDY_TRANSPORT="sqs")
    with pytest.raises(ConfigError, match="^UNDERSTUDY_TRANSPORT is .*such as sqs://sqs"):
        read(UNDERSTUDY_TRANSPORT="sqs://eu-west-1")
    with pytest.raises(ConfigError, match="it takes database, sqs, redis://"):
        read(UNDERSTUDY_TRANSPORT="amqp://h")


@pytest.mark.requirement("G04", "H17")
def test_a_fifo_queue_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="a FIFO queue. Make a standard one: .* deduplication are the ledger's"):
        read(SQS_QUEUE_URL=QUEUE + ".fifo")


def test_a_refused_queue_url_does_not_show_its_password() -> None:
    with pytest.raises(ConfigError) as refusal:
        read(SQS_QUEUE_URL="https://user:hidden@sqs.us-east-1.amazonaws.com/1/q")
    assert "hidden" not in str(refusal.value)
