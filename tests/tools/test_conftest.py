"""The fixtures that all other tests stand on."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest
import redis
from sqlalchemy import create_engine, inspect, text

from tools.servers import PostgresServer, RedisServer
from tools.smtp import SmtpCatcher


@pytest.mark.parametrize("round_", [1, 2])
def test_every_test_gets_an_empty_database(database_url: str, round_: int) -> None:
    engine = create_engine(database_url)

    tables_before = inspect(engine).get_table_names()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_behind (id INTEGER)"))

    assert tables_before == []
    assert inspect(engine).get_table_names() == ["left_behind"]
    # The engine is left connected on purpose: the database is dropped all the same.


@pytest.mark.parametrize("round_", [1, 2])
def test_every_test_gets_an_empty_redis(redis_url: str, round_: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        keys_before = client.dbsize()
        client.set("left-behind", 1)

        assert keys_before == 0
        assert client.dbsize() == 1


def test_a_database_can_be_a_copy_of_another(postgres_databases, postgres_url: str) -> None:
    original = create_engine(postgres_url)
    with original.begin() as connection:
        connection.execute(text("CREATE TABLE migrated (id INTEGER)"))
    original.dispose()

    copy = postgres_databases.create(template=postgres_url.rpartition("/")[2])
    tables = inspect(create_engine(copy)).get_table_names()
    postgres_databases.drop(copy)

    assert tables == ["migrated"]


def test_private_servers_are_not_those_of_the_run(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    postgres_url: str,
    redis_url: str,
) -> None:
    assert f":{postgres_server.port}/" not in postgres_url
    assert f":{redis_server.port}/" not in redis_url


def mail(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "from@example.com"
    message["To"] = "Ms Example <to@example.com>"
    message["Subject"] = subject
    message.set_content("Grüße")
    return message


def test_mail_is_collected_with_its_envelope(smtp_server: SmtpCatcher) -> None:
    with smtplib.SMTP(smtp_server.host, smtp_server.port) as client:
        client.send_message(mail("Hello"), to_addrs=["hidden@example.com"])

    [message] = smtp_server.wait(1)
    assert message["Subject"] == "Hello"
    assert message["X-RcptTo"] == "hidden@example.com"
    assert message.get_content().strip() == "Grüße"


@pytest.mark.parametrize(("reply", "code"), [("550 no such user", 550), ("451 later", 451)])
def test_mail_server_refuses_when_told_to(smtp_server: SmtpCatcher, reply: str, code: int) -> None:
    smtp_server.answer(reply)

    with (
        smtplib.SMTP(smtp_server.host, smtp_server.port) as client,
        pytest.raises(smtplib.SMTPDataError) as refusal,
    ):
        client.send_message(mail("Refused"))

    assert refusal.value.smtp_code == code
    assert smtp_server.messages == []
    assert smtp_server.attempts == 1


def test_mail_server_accepts_again_after_a_refusal(smtp_server: SmtpCatcher) -> None:
    smtp_server.answer("451 later")
    smtp_server.answer()

    with smtplib.SMTP(smtp_server.host, smtp_server.port) as client:
        client.send_message(mail("Second try"))

    assert [message["Subject"] for message in smtp_server.messages] == ["Second try"]
