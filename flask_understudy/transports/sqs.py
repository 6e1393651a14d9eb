"""The Amazon SQS transport: one standard queue whose messages wake workers, which claim in the ledger's order.

SQS keeps no order and repeats what it likes, so a message is only a sign that a queue of ours has work: its body holds
the queue's name and one job's id. A worker that is woken goes on until the ledger has nothing more for it, so ten
messages are enough for any number of jobs. A message is deleted when it is taken, and no visibility timeout matters to
a job.

boto3's own defaults would hold a request for minutes and repeat what may have arrived, hence clients of our own with
short timeouts and no retries.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from ..config.sqs import SqsAddress, address_of
from ..errors import ConfigError, TransportError
from ..ledger.transitions import Due
from .breaker import Breaker
from .sqs_faults import Refused, explained
from .sqs_polling import Poller, WakeUp, body_of, wake_up

logger = logging.getLogger("flask_understudy")

T = TypeVar("T")

BATCH = 10  # what one request of SQS takes
POLL_SECONDS = 20  # the longest that SQS offers, and the cheapest
POLL_MARGIN_SECONDS = 5.0
TAKEN_SECONDS = 5  # for which a message is out of sight until it is deleted
LENGTH_SECONDS = 5.0  # for which a counted length is believed
CONNECTIONS = 32


def client_for(address: SqsAddress, connect_seconds: float, read_seconds: float) -> Any:
    """Return a client of boto3 that gives up in time and repeats nothing.

    Raises:
        ConfigError: The region is not known, or AWS's own settings are wrong.
    """
    try:
        session = boto3.Session()
        region = address.region or os.environ.get("AWS_REGION") or session.region_name
        if not region:
            raise ConfigError(f"The host of {address.queue_url} does not tell the region; set AWS_REGION.")
        return session.client(
            "sqs",
            region_name=region,
            endpoint_url=address.endpoint,
            config=Config(
                connect_timeout=connect_seconds,
                read_timeout=read_seconds,
                retries={"total_max_attempts": 1, "mode": "standard"},
                max_pool_connections=CONNECTIONS,
            ),
        )
    except (BotoCoreError, ValueError) as problem:
        raise ConfigError(f"Amazon SQS cannot be set up: {problem}") from problem


class SqsTransport:
    """Wakes workers through one SQS queue.

    Args:
        url: `sqs://host/account/name`, as `config.sqs` returns it.
        timeout: s that connecting, or one answer, may take.
    """

    name = "sqs"
    keeps_order = False

    def __init__(self, url: str, *, timeout: float) -> None:
        self.address = address_of(url)
        self.timeout = timeout
        self.breaker = Breaker(self._prove)
        self._failed: Callable[[], object] = self._count
        self._clients: dict[tuple[int, bool], Any] = {}
        self._length: tuple[float, int] | None = None
        self._poller: Poller | None = None
        self._is_foreign_told = False
        self._client()  # here, as reading how to talk to SQS takes longer than a request should

    def _client(self, blocking: bool = False) -> Any:
        key = (os.getpid(), blocking)
        client = self._clients.get(key)
        if client is None:
            read = POLL_SECONDS + POLL_MARGIN_SECONDS if blocking else self.timeout
            client = self._clients[key] = client_for(self.address, self.timeout, read)
        return client

    def client(self, timeout: float) -> Any:
        """Return a client of its own for somebody who looks around, with another timeout in s."""
        return client_for(self.address, timeout, timeout)

    @property
    def is_up(self) -> bool:
        """Whether the breaker is closed."""
        return self.breaker.is_closed

    def check(self) -> bool:
        """Ask SQS, unless it answered within the last `LENGTH_SECONDS`."""
        try:
            self._guarded(self._counted, self._count)
        except TransportError:
            return False
        return True

    def _guarded(self, act: Callable[[], T], proof: Callable[[], object]) -> T:
        """Do something unless SQS is down; `proof` is what shows that the same would work again."""
        if not self.breaker.is_closed:
            raise TransportError("SQS is down.")
        try:
            return act()
        except (BotoCoreError, ClientError, Refused, ConfigError, OSError) as problem:
            fault = explained(problem)
            self._failed = proof
            if isinstance(problem, NoCredentialsError):
                self._clients.clear()  # a client looks for them once: the probe makes another
            self.breaker.open(TransportError(f"{fault.found}. {fault.remedy}"))
            raise TransportError(f"SQS failed: {fault.found}") from problem

    def _prove(self) -> None:
        self._failed()

    def announce(self, jobs: Sequence[Due]) -> None:
        """Send wake-ups for the queues of jobs: up to ten of them, and one for each queue; in one request as a rule.

        Raises:
            TransportError: SQS is down or did not answer in time; the messages may have arrived all the same.
        """
        bodies = _bodies(jobs)
        self._guarded(lambda: self._send(bodies), self._prove_sending)
        if self._length is not None:
            self._length = (self._length[0], self._length[1] + len(bodies))

    def _send(self, bodies: Sequence[str]) -> None:
        for first in range(0, len(bodies), BATCH):
            answer = self._client().send_message_batch(
                QueueUrl=self.address.queue_url,
                Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[first : first + BATCH])],
            )
            for refused in answer.get("Failed", ()):
                raise Refused(f"{refused.get('Code')}: {refused.get('Message', '')}")

    def _prove_sending(self) -> None:
        self._send([body_of("", "")])  # for nobody

    def take(self, queue: str, n: int) -> list[str]:
        """Return what came for a queue while it stopped waiting, without asking SQS."""
        return self._listening().take(queue) if n else []

    def wait(self, queue: str, timeout: float) -> list[str]:
        """Sleep until a wake-up for a queue comes, or `timeout` s are over.

        Raises:
            TransportError: SQS is down.
        """
        if not self.breaker.is_closed:
            raise TransportError("SQS is down.")
        return self._listening().wait(queue, timeout)

    def _listening(self) -> Poller:
        poller = self._poller
        if poller is None or poller.pid != os.getpid():
            poller = self._poller = Poller(self._receive, self._settle)
        return poller

    def _receive(self) -> list[WakeUp]:
        return self._guarded(lambda: self._received(self._client(blocking=True), POLL_SECONDS), self._prove_receiving)

    def _received(self, client: Any, seconds: int) -> list[WakeUp]:
        answer = client.receive_message(
            QueueUrl=self.address.queue_url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=seconds,
            VisibilityTimeout=TAKEN_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )
        messages = answer.get("Messages", [])
        found = [each for message in messages if (each := wake_up(message, time.time())) is not None]
        if len(found) < len(messages) and not self._is_foreign_told:
            self._is_foreign_told = True
            logger.warning(
                "The SQS queue %s holds messages of somebody else, which are left alone. Give each ledger a queue of "
                "its own.",
                self.address.queue_url,
            )
        return found

    def _prove_receiving(self) -> None:
        self._put_away([], self._received(self._client(), 0))

    def _settle(self, done: Sequence[WakeUp], others: Sequence[WakeUp]) -> None:
        self._guarded(lambda: self._put_away(done, others), self._prove_receiving)

    def _put_away(self, done: Sequence[WakeUp], others: Sequence[WakeUp]) -> None:
        if done:
            entries: list[dict[str, Any]] = [{"Id": str(n), "ReceiptHandle": w.handle} for n, w in enumerate(done)]
            self._client().delete_message_batch(QueueUrl=self.address.queue_url, Entries=entries)
        if others:
            entries = [{"Id": str(n), "ReceiptHandle": w.handle, "VisibilityTimeout": 0} for n, w in enumerate(others)]
            self._client().change_message_visibility_batch(QueueUrl=self.address.queue_url, Entries=entries)

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many wake-ups SQS holds for all queues together, the same number for each: it does not part them.

        SQS counts roughly, and the number is up to `LENGTH_SECONDS` old.

        Raises:
            TransportError: SQS is down.
        """
        return dict.fromkeys(queues, self._guarded(self._counted, self._count))

    def _counted(self) -> int:
        if self._length is None or time.monotonic() - self._length[0] > LENGTH_SECONDS:
            self._length = (time.monotonic(), self._count())
        return self._length[1]

    def _count(self) -> int:
        name = "ApproximateNumberOfMessages"
        answer = self._client().get_queue_attributes(QueueUrl=self.address.queue_url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def close(self) -> None:
        """Stop listening and probing, and close this process's connections."""
        self.breaker.stop()
        if self._poller is not None and self._poller.pid == os.getpid():
            self._poller.stop()
        for (pid, _), client in list(self._clients.items()):
            if pid == os.getpid():
                client.close()


def _bodies(jobs: Sequence[Due]) -> list[str]:
    """Return the messages for jobs: as many for each queue as there are jobs, up to ten in all or one a queue."""
    by_queue: dict[str, list[str]] = {}
    for job in jobs:
        by_queue.setdefault(job.queue, []).append(job.id)
    share = max(1, BATCH // max(1, len(by_queue)))
    return [body_of(queue, id) for queue, ids in by_queue.items() for id in ids[:share]]
