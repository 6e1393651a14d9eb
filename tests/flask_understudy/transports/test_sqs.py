"""The SQS transport: messages that wake workers, and no waiting for an SQS that is down."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_understudy.clock.announce import refill
from flask_understudy.consumer import Capacity, LedgerConsumer
from flask_understudy.errors import ConfigError, TransportError
from flask_understudy.ledger.transitions import Due
from flask_understudy.signals import broker_lost
from flask_understudy.transports import transport_for
from flask_understudy.transports.sqs import SqsTransport
from flask_understudy.transports.sqs_faults import ACTIONS
from flask_understudy.transports.sqs_polling import SPENT_RECEIVES, SPENT_SECONDS, WakeUp, wake_up
from tests.flask_understudy.conftest import MakeSite
from tools.servers.sqs import SqsServer
from tools.waiting import wait_for

pytestmark = pytest.mark.requirement("G04")

MakeTransport = Callable[..., SqsTransport]


def due(id: str, queue: str = "q") -> Due:
    return Due(id, queue, 3, 0)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeTransport]:
    """Make transports, as that many processes would have; what one of them keeps is not seen again."""
    monkeypatch.setattr("flask_understudy.transports.sqs.TAKEN_SECONDS", 600)
    made: list[SqsTransport] = []

    def transport(queue_url: str, timeout: float = 1.0) -> SqsTransport:
        found = transport_for(queue_url.replace("http", "sqs+http", 1), runway=5, timeout=timeout)
        assert isinstance(found, SqsTransport)
        made.append(found)
        return found

    yield transport
    for each in made:
        each.close()


@pytest.fixture
def transport(make: MakeTransport, sqs_queue: str) -> SqsTransport:
    return make(sqs_queue)


def bodies(server: SqsServer, url: str) -> list[dict[str, str]]:
    """What a queue holds, which is empty afterwards."""
    found: list[dict[str, str]] = []
    while messages := server.client().receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in messages]
    return found


def length(server: SqsServer, url: str) -> tuple[int, int]:
    """How many messages can be received, and how many are out of sight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = server.client().get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def test_an_announcement_wakes_whoever_waits_for_its_queue_and_is_deleted(
    make: MakeTransport, shared_sqs: SqsServer, sqs_queue: str
) -> None:
    sender, worker = make(sqs_queue), make(sqs_queue)
    waiter = threading.Timer(0.2, sender.announce, [[due("a")]])
    waiter.start()

    assert worker.wait("q", 10) == ["a"]
    wait_for(lambda: length(shared_sqs, sqs_queue) == (0, 0), "the message to be deleted")


def test_only_names_and_ids_travel_and_ten_messages_are_enough(
    transport: SqsTransport, shared_sqs: SqsServer, sqs_queue: str
) -> None:
    transport.announce([due(f"a{n}") for n in range(2000)])
    assert [body["id"] for body in bodies(shared_sqs, sqs_queue)] == [f"a{n}" for n in range(10)]

    transport.announce([due(f"{n}", queue=f"q{n}") for n in range(25)])
    assert sorted(body["queue"] for body in bodies(shared_sqs, sqs_queue)) == sorted(f"q{n}" for n in range(25))

    transport.announce([due("a"), *(due(f"b{n}", "other") for n in range(8))])
    found = bodies(shared_sqs, sqs_queue)
    assert {"queue": "q", "id": "a"} in found
    assert len(found) == 6


def test_each_of_two_processes_is_woken_by_one_message(make: MakeTransport, sqs_queue: str) -> None:
    workers = [make(sqs_queue), make(sqs_queue)]
    woken: list[list[str]] = []
    threads = [threading.Thread(target=lambda w=worker: woken.append(w.wait("q", 10))) for worker in workers]
    for thread in threads:
        thread.start()

    make(sqs_queue).announce([due("a"), due("b")])
    for thread in threads:
        thread.join()

    assert sorted(woken) == [["a"], ["b"]]


def test_what_another_process_waits_for_is_passed_on(make: MakeTransport, sqs_queue: str) -> None:
    elsewhere, worker = make(sqs_queue), make(sqs_queue)
    waits = threading.Thread(target=elsewhere.wait, args=("another", 8))
    waits.start()
    wait_for(lambda: elsewhere._poller is not None, "the other process to listen")

    make(sqs_queue).announce([due("a")])

    assert worker.wait("q", 8) == ["a"]
    elsewhere.close()
    waits.join()


def test_a_process_that_is_busy_leaves_the_messages_to_others(
    make: MakeTransport, shared_sqs: SqsServer, sqs_queue: str
) -> None:
    busy, idle = make(sqs_queue), make(sqs_queue)
    busy.announce([due("a")])
    assert busy.wait("q", 10) == ["a"]  # it polls once more at the most, as nobody waits any more

    busy.announce([due("b")])

    assert idle.wait("q", 10) == ["b"]
    assert busy.take("q", 5) == []


@pytest.mark.parametrize(
    ("age_seconds", "receives", "is_spent"),
    [(0, 1, False), (SPENT_SECONDS + 1, 1, True), (0, SPENT_RECEIVES, True), (-300, SPENT_RECEIVES - 1, False)],
)
def test_a_message_is_spent_when_every_idle_worker_has_looked(
    age_seconds: float, receives: int, is_spent: bool
) -> None:
    assert WakeUp("handle", "q", "a", age_seconds, receives).is_spent is is_spent


def test_messages_that_nobody_waits_for_vanish(make: MakeTransport, shared_sqs: SqsServer, sqs_queue: str) -> None:
    transport = make(sqs_queue)
    transport.announce([due(f"a{n}", "abandoned") for n in range(10)])

    def listen() -> bool:
        transport.wait("q", 0.5)
        return length(shared_sqs, sqs_queue) == (0, 0)

    wait_for(listen, "the messages to be deleted", timeout_seconds=20)


def test_messages_of_somebody_else_are_left_alone(
    make: MakeTransport, shared_sqs: SqsServer, sqs_queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    for body in ("hello", "[]", '{"queue": "q"}'):
        shared_sqs.client().send_message(QueueUrl=sqs_queue, MessageBody=body)
    transport = make(sqs_queue)

    assert transport.wait("q", 1) == []
    wait_for(lambda: "messages of somebody else" in caplog.text, "the warning")
    assert sum(length(shared_sqs, sqs_queue)) == 3


def test_a_message_without_times_is_read() -> None:
    found = wake_up({"Body": '{"queue":"q","id":"a"}', "ReceiptHandle": "h"}, time.time())
    assert found is not None
    assert (found.queue, found.job_id, found.receives) == ("q", "a", 1)


def test_the_length_is_that_of_all_queues_and_counted_now_and_then(
    transport: SqsTransport, shared_sqs: SqsServer, sqs_queue: str
) -> None:
    assert transport.depths(["q", "other"]) == {"q": 0, "other": 0}
    shared_sqs.client().send_message(QueueUrl=sqs_queue, MessageBody="x")
    assert transport.depths(["q"]) == {"q": 0}
    transport.announce([due("a")])
    assert transport.depths(["q"]) == {"q": 1}
    transport._length = None
    assert transport.depths(["q"]) == {"q": 2}
    assert transport.depths([]) == {}


def test_closing_wakes_everybody_and_waits_for_no_poll(transport: SqsTransport) -> None:
    waiter = threading.Thread(target=transport.wait, args=("q", 30))
    waiter.start()
    wait_for(lambda: transport._poller is not None and transport._poller._waiting["q"], "the waiter")
    transport.close()
    waiter.join(2)
    assert not waiter.is_alive()


@pytest.mark.requirement("G9", "J04", "J05", "invariant-I13")
class TestDown:
    """An SQS that is down costs one short wait, once."""

    @pytest.fixture
    def down(self, make: MakeTransport, sqs_server: SqsServer) -> tuple[SqsTransport, SqsServer]:
        transport = make(sqs_server.create("jobs"), 0.4)
        transport.announce([due("before")])
        return transport, sqs_server

    def test_refused_then_refused_at_once(self, down: tuple[SqsTransport, SqsServer]) -> None:
        transport, server = down
        server.kill()
        with pytest.raises(TransportError, match="SQS cannot be reached"):
            transport.announce([due("a")])
        assert not transport.is_up
        acts: list[Callable[[], Any]] = [
            lambda: transport.announce([due("a")]),
            lambda: transport.depths(["q"]),
            lambda: transport.wait("q", 1),
        ]
        for act in acts * 100:
            with pytest.raises(TransportError, match="SQS is down"):  # it was not asked
                act()
        assert not transport.check()

    def test_a_hung_sqs_costs_its_timeout_once(self, down: tuple[SqsTransport, SqsServer]) -> None:
        transport, server = down
        server.pause()
        began = time.monotonic()
        with pytest.raises(TransportError):
            transport.announce([due("a")])
        assert 0.3 < time.monotonic() - began < 1.5
        began = time.monotonic()
        with pytest.raises(TransportError):
            transport.announce([due("b")])
        assert time.monotonic() - began < 0.05
        server.resume()
        wait_for(lambda: transport.is_up, "the probe to find it again")

    def test_it_is_found_again_by_the_probe_once_the_queue_is_there(
        self, down: tuple[SqsTransport, SqsServer], caplog: pytest.LogCaptureFixture
    ) -> None:
        transport, server = down
        server.restart()  # without its queues
        with pytest.raises(TransportError, match="there is no such queue"):
            transport.announce([due("a")])
        assert "Is the URL right: region, account and name?" in caplog.text
        server.create("jobs")
        wait_for(lambda: transport.is_up, "the probe to find it again", timeout_seconds=5)
        transport.announce([due("a")])
        assert transport.wait("q", 5) == ["a"]

    def test_losing_it_while_listening_is_noticed(self, down: tuple[SqsTransport, SqsServer]) -> None:
        transport, server = down
        assert transport.wait("q", 5) == ["before"]
        listener = threading.Thread(target=transport.wait, args=("q", 10))
        listener.start()
        server.kill()
        wait_for(lambda: not transport.is_up, "the poll to fail")
        transport.close()
        listener.join()


@pytest.mark.requirement("R05", "H02")
class TestAccess:
    """Who may not, is told what is missing; and nobody is told again and again."""

    def test_missing_credentials(
        self, make: MakeTransport, sqs_queue: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        transport = make(sqs_queue)

        with pytest.raises(TransportError, match="there are no AWS credentials"):
            transport.announce([due("a")])
        assert "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in caplog.text

        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")  # as when a machine's role comes late
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        wait_for(lambda: transport.is_up, "the probe to find them")

    def test_wrong_credentials(self, make: MakeTransport, sqs_server: SqsServer) -> None:
        url = sqs_server.create("jobs")
        sqs_server.enforce()
        with pytest.raises(TransportError, match="AWS refuses the credentials"):
            make(url).announce([due("a")])

    @pytest.mark.parametrize("lacking", ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:GetQueueAttributes"])
    def test_a_permission_that_is_lacking_opens_the_breaker_once(
        self,
        make: MakeTransport,
        sqs_server: SqsServer,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        lacking: str,
    ) -> None:
        url = sqs_server.create("jobs")
        for name, value in sqs_server.account(*granted(lacking)).items():
            monkeypatch.setenv(name, value)
        sqs_server.enforce()
        transport = make(url)
        act: Callable[[], Any] = {
            "sqs:SendMessage": lambda: transport.announce([due("a")]),
            "sqs:ReceiveMessage": lambda: transport.wait("q", 0.1),
            "sqs:GetQueueAttributes": lambda: transport.depths(["q"]),
        }[lacking]
        lost: list[str] = []

        with broker_lost.connected_to(lambda _, error: lost.append(error)):
            for _ in range(30):
                try:
                    act()
                except TransportError:
                    time.sleep(0.05)  # three probes go by

        assert len(lost) == 1
        assert "lack a permission" in lost[0]
        assert lacking in lost[0]
        assert "Allow on the queue: sqs:SendMessage, sqs:ReceiveMessage" in caplog.text


def granted(lacking: str = "") -> list[str]:
    """The permissions but one. AWS counts a batch as what it is a batch of; moto does not."""
    allowed = [action for action in ACTIONS if action != lacking]
    return [*allowed, *(f"{action}Batch" for action in allowed)]


@pytest.mark.requirement("R05", "R10", "H17")
class TestSettings:
    """What cannot work is refused when the application starts."""

    def test_a_missing_region(self, monkeypatch: pytest.MonkeyPatch, aws_keys: dict[str, str]) -> None:
        monkeypatch.delenv("AWS_REGION")
        with pytest.raises(ConfigError, match="does not tell the region; set AWS_REGION"):
            transport_for("sqs+http://127.0.0.1:1/1/jobs", runway=1, timeout=1)

    def test_half_of_a_key(self, monkeypatch: pytest.MonkeyPatch, aws_keys: dict[str, str]) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(ConfigError, match="cannot be set up: .*AWS_SECRET_ACCESS_KEY"):
            transport_for("sqs://sqs.eu-west-1.amazonaws.com/1/jobs", runway=1, timeout=1)

    def test_a_profile_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch, aws_keys: dict[str, str]) -> None:
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(ConfigError, match="cannot be set up: .*nobody"):
            transport_for("sqs://sqs.eu-west-1.amazonaws.com/1/jobs", runway=1, timeout=1)

    def test_without_boto3_the_command_that_installs_it_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flask_understudy.transports.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"pip install 'flask-understudy\[sqs\]'"):
            transport_for("sqs://sqs.eu-west-1.amazonaws.com/1/jobs", runway=1, timeout=1)


@pytest.mark.requirement("G2", "I7", "C11")
def test_a_woken_worker_claims_in_the_order_of_the_ledger(
    make_site: MakeSite, ledger_url: str, sqs_queue: str, shared_sqs: SqsServer
) -> None:
    site = make_site(ledger_url, SQS_QUEUE_URL=sqs_queue)

    @site.jobs.actor()
    def work() -> None: ...

    usual = work.send()
    urgent = work.send_with_options(priority=1)
    late = work.send_with_options(delay=3_600_000)  # SQS itself would hold it for 15 minutes at most
    bodies(shared_sqs, sqs_queue)
    consumer = LedgerConsumer(site.process(), Capacity(1), "default", 10)

    for named, claimed in (("'; DROP TABLE x", urgent.message_id), (late.message_id, usual.message_id)):
        consumer._looked = time.monotonic()  # so that it is the message alone that makes it look
        assert consumer._claim(1) == []
        message = json.dumps({"queue": "default", "id": named})
        shared_sqs.client().send_message(QueueUrl=sqs_queue, MessageBody=message)
        wait_for(lambda: consumer._wait() or consumer._announced == [named], "the message")  # noqa: B023
        assert [job.id for job in consumer._claim(1)] == [claimed]
    assert site.job(late).state == "delayed"


@pytest.mark.requirement("G2", "I7")
def test_the_job_that_a_message_names_is_not_preferred(make_site: MakeSite, sqlite_ledger: str, sqs_queue: str) -> None:
    site = make_site(sqlite_ledger, SQS_QUEUE_URL=sqs_queue)

    @site.jobs.actor()
    def work() -> None: ...

    usual, urgent = work.send(), work.send_with_options(priority=1)
    consumer = LedgerConsumer(site.process(), Capacity(1), "default", 10)
    consumer._announced = [usual.message_id]

    assert [job.id for job in consumer._claim(1)] == [urgent.message_id]


@pytest.mark.requirement("G1", "invariant-I14")
def test_the_clock_sends_wake_ups_when_sqs_holds_none_and_only_then(
    make_site: MakeSite, ledger_url: str, sqs_queue: str, shared_sqs: SqsServer
) -> None:
    site = make_site(ledger_url, SQS_QUEUE_URL=sqs_queue)

    @site.jobs.actor()
    def work() -> None: ...

    site.jobs.send_many([work.message() for _ in range(40)])
    assert refill(site.state) == 0
    shared_sqs.client().purge_queue(QueueUrl=sqs_queue)
    assert refill(site.state) == 0, "it asked SQS again at once"
    transport = site.state.transport
    assert isinstance(transport, SqsTransport)
    transport._length = None
    assert refill(site.state) == 10
    assert refill(site.state) == 0
    assert {body["queue"] for body in bodies(shared_sqs, sqs_queue)} == {"default"}


@pytest.mark.requirement("H03")
def test_the_log_is_quiet_while_all_is_well(
    make_site: MakeSite, sqlite_ledger: str, sqs_queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(sqlite_ledger, SQS_QUEUE_URL=sqs_queue)

    @site.jobs.actor()
    def work() -> None: ...

    site.start_worker()
    for _ in range(3):
        site.eventually("completed", work.send())
    site.jobs.stop_worker()

    ours = [record for record in caplog.records if record.name == "flask_understudy"]
    assert [record.message for record in ours if record.levelno >= logging.WARNING] == []
