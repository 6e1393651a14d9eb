"""The doctor on Amazon SQS: which of credentials, URL, permissions and network is wrong, and what to do."""

from __future__ import annotations

import json

import pytest

from flask_understudy.transports.sqs_faults import ACTIONS
from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.cli.test_doctor import finding, findings
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.transports.test_sqs import granted
from tools.servers.process import free_port
from tools.servers.sqs import SqsServer

pytestmark = pytest.mark.requirement("S05", "R05")


def test_sqs_that_is_well_is_told_with_its_latency(make_site: MakeSite, sqlite_ledger: str, sqs_queue: str) -> None:
    cli = Typist(make_site(sqlite_ledger, SQS_QUEUE_URL=sqs_queue))

    assert finding(cli, "sqs")["found"].startswith(f"{sqs_queue} answers in ")
    assert finding(cli, "sqs permissions")["status"] == "ok"
    assert finding(cli, "redis")["found"] == "not used: SQS carries"


def test_it_is_not_looked_at_when_it_is_not_used(cli: Typist) -> None:
    assert [findings(cli, name) for name in ("sqs", "sqs permissions", "sqs queue")] == [[], [], []]


def test_settings_of_the_queue_that_hinder_are_told(
    make_site: MakeSite, sqlite_ledger: str, sqs_queue: str, shared_sqs: SqsServer
) -> None:
    dead = shared_sqs.create("dead")
    arn = shared_sqs.client().get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "3"})
    attributes = {"DelaySeconds": "7", "RedrivePolicy": policy}
    shared_sqs.client().set_queue_attributes(QueueUrl=sqs_queue, Attributes=attributes)
    cli = Typist(make_site(sqlite_ledger, SQS_QUEUE_URL=sqs_queue, SQS_DLQ_URL=dead))

    told = [(each["status"], each["found"]) for each in findings(cli, "sqs queue")]

    assert told[:4] == [
        ("warning", "the queue delays each message by 7 s"),
        ("note", "the queue has a dead-letter queue, where no more than old wake-ups would go"),
        ("note", "SQS_DLQ_URL is set, and nothing is sent there"),
        ("note", "the queue keeps messages for 345,600 s"),
    ]
    assert told[4][0] == "ok"


@pytest.mark.requirement("H02")
def test_missing_credentials_are_an_error(
    make_site: MakeSite, sqlite_ledger: str, sqs_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    cli = Typist(make_site(sqlite_ledger, SQS_QUEUE_URL=sqs_queue))

    found = findings(cli, "sqs", expect=1)

    assert "there are no AWS credentials" in found[0]["found"]
    assert "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in found[0]["remedy"]
    assert found[1]["found"] == "not checked because of it: sqs permissions, sqs queue"


def test_a_queue_that_is_not_there_is_an_error(
    make_site: MakeSite, sqlite_ledger: str, sqs_queue: str, shared_sqs: SqsServer
) -> None:
    cli = Typist(make_site(sqlite_ledger, SQS_QUEUE_URL=shared_sqs.queue_url("nowhere")))

    [found, _] = findings(cli, "sqs", expect=1)

    assert "there is no such queue" in found["found"]
    assert "aws sqs get-queue-attributes --queue-url" in found["remedy"]


def test_sqs_that_cannot_be_reached_is_an_error(
    make_site: MakeSite, sqlite_ledger: str, aws_keys: dict[str, str]
) -> None:
    cli = Typist(make_site(sqlite_ledger, SQS_QUEUE_URL=f"http://127.0.0.1:{free_port()}/1/jobs"))

    [found, _] = findings(cli, "sqs", expect=1)

    assert "SQS cannot be reached" in found["found"]
    assert "VPC endpoint" in found["remedy"]


def test_each_permission_that_is_lacking_is_named(
    make_site: MakeSite, sqlite_ledger: str, sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs_server.create("jobs")
    accounts = {action: sqs_server.account(*granted(action)) for action in ACTIONS}
    sqs_server.enforce()

    for action, environ in accounts.items():
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        cli = Typist(make_site(sqlite_ledger, SQS_QUEUE_URL=url))
        check = "sqs" if action == "sqs:GetQueueAttributes" else "sqs permissions"
        found = findings(cli, check, expect=1)[0]
        assert found["status"] == "error"
        assert action in found["found"]
        assert "sqs:SendMessage, sqs:ReceiveMessage, sqs:DeleteMessage" in found["remedy"]

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    cli = Typist(make_site(sqlite_ledger, SQS_QUEUE_URL=url))
    assert "AWS refuses the credentials" in findings(cli, "sqs", expect=1)[0]["found"]
