"""Amazon SQS: credentials, the queue, each permission, and settings of the queue that would hinder (S05, R05)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from ...state import State
from ...transports.sqs_faults import ACTIONS, explained
from ...transports.sqs_polling import body_of
from .finding import ERROR, NOTE, OK, WARNING, Finding

TIMEOUT_SECONDS = 0.5  # each of five questions, within the time of one check
SLOW_MS = 200
LONG_RETENTION_SECONDS = 3600
NO_HANDLE = "none"  # deleting what is not there is refused as wrong by those who may delete


def _attributes(state: State) -> dict[str, str]:
    transport: Any = state.transport
    with closing(transport.client(TIMEOUT_SECONDS * 2)) as client:
        answer = client.get_queue_attributes(QueueUrl=transport.address.queue_url, AttributeNames=["All"])
        found: dict[str, str] = answer["Attributes"]
        return found


def reachable(state: State) -> Iterator[Finding]:
    """Look whether the credentials are good, and the queue is there and answers."""
    transport: Any = state.transport
    if transport.name != "sqs":
        return
    try:
        _attributes(state)
        began = time.monotonic()
        _attributes(state)
        ms = (time.monotonic() - began) * 1000
    except Exception as problem:  # boto3 has no base for what it raises, and none of it is lost
        fault = explained(problem)
        yield Finding(ERROR, fault.found, f"{fault.remedy} Meanwhile the ledger carries.")
        return
    found = f"{transport.address.queue_url} answers in {ms:.0f} ms"
    if ms > SLOW_MS:
        yield Finding(WARNING, found, "Use a queue in the region of the application; each send waits for it.")
    else:
        yield Finding(OK, found)


def permissions(state: State) -> Iterator[Finding]:
    """Try each action that is needed, with a message for nobody."""
    if state.transport.name != "sqs":
        return
    transport: Any = state.transport
    url = transport.address.queue_url
    with closing(transport.client(TIMEOUT_SECONDS)) as client:
        tries: dict[str, Callable[[], Any]] = {
            "sqs:SendMessage": lambda: client.send_message(QueueUrl=url, MessageBody=body_of("", "")),
            "sqs:ReceiveMessage": lambda: client.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=0),
            "sqs:DeleteMessage": lambda: client.delete_message(QueueUrl=url, ReceiptHandle=NO_HANDLE),
            "sqs:ChangeMessageVisibility": lambda: client.change_message_visibility(
                QueueUrl=url, ReceiptHandle=NO_HANDLE, VisibilityTimeout=0
            ),
        }
        lacking = [action for action, attempt in tries.items() if _is_forbidden(attempt)]
    for action in lacking:
        remedy = f"Allow it on the queue, for the web and the workers: {', '.join(ACTIONS)}. See docs/deployment.md."
        yield Finding(ERROR, f"the credentials lack the permission {action}", remedy)
    if not lacking:
        yield Finding(OK, "the credentials have all permissions that are needed")


def _is_forbidden(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except Exception as problem:  # the receipt is none, or as in `reachable`, which has told it
        return explained(problem).is_permission
    return False


def queue(state: State) -> Iterator[Finding]:
    """Look at the queue's own settings."""
    if state.transport.name != "sqs":
        return
    attributes = _attributes(state)
    if int(attributes.get("DelaySeconds", 0)):
        remedy = "Set its DelaySeconds to 0: what should wait waits in the ledger."
        yield Finding(WARNING, f"the queue delays each message by {attributes['DelaySeconds']} s", remedy)
    if "RedrivePolicy" in attributes:
        remedy = "Remove it: failed jobs are in the ledger, see flask jobs failures."
        yield Finding(NOTE, "the queue has a dead-letter queue, where no more than old wake-ups would go", remedy)
    if os.environ.get("SQS_DLQ_URL") or state.app.config.get("SQS_DLQ_URL"):
        remedy = "Nothing has to be done: failed jobs are in the ledger, see flask jobs failures."
        yield Finding(NOTE, "SQS_DLQ_URL is set, and nothing is sent there", remedy)
    retention = int(attributes.get("MessageRetentionPeriod", 0))
    if retention > LONG_RETENTION_SECONDS:
        remedy = "300 s are enough: a worker that was busy for longer would be woken in vain by each old message."
        yield Finding(NOTE, f"the queue keeps messages for {retention:,} s", remedy)
    yield Finding(OK, f"it holds about {attributes.get('ApproximateNumberOfMessages', '?')} messages")
