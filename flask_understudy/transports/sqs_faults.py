"""What SQS, or the way to it, refuses, in words and with a remedy. By name, so that it needs no boto3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ACTIONS = (
    "sqs:SendMessage",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
)

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError")
_WRONG_CREDENTIALS = (
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidSecurity",
)
_SKEWED = ("RequestTimeTooSkewed", "RequestExpired", "Signature expired", "Signature not yet current")
_FORBIDDEN = ("AccessDenied", "not authorized")
_NO_QUEUE = ("NonExistentQueue", "QueueDoesNotExist", "InvalidAddress")
_UNREACHED = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError", "SSLError")


class Refused(Exception):
    """SQS took a batch and refused an entry of it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with SQS.

    Attributes:
        found: In words.
        remedy: What to do.
        is_permission: Whether it is a matter of permissions alone.
    """

    found: str
    remedy: str
    is_permission: bool = False


def explained(problem: BaseException) -> Fault:
    """Return what an exception of boto3 means."""
    name, text = type(problem).__name__, str(problem) or type(problem).__name__
    told = _told(problem) or text
    if name in _NO_CREDENTIALS:
        return Fault(
            f"there are no AWS credentials ({text.rstrip('.')})",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or container a role.",
        )
    if name in _UNREACHED:
        return Fault(
            f"SQS cannot be reached: {text}",
            "Is the host of the URL right? Does a firewall stand between, or a subnet without NAT or VPC endpoint?",
        )
    for signs, found, remedy in (
        (
            _SKEWED,
            "AWS refuses the time of this machine",
            "Set its clock by NTP: signatures are good for five minutes.",
        ),
        (
            _WRONG_CREDENTIALS,
            "AWS refuses the credentials",
            "Are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN right and in "
            "force? Test: aws sts get-caller-identity",
        ),
        (
            _NO_QUEUE,
            "there is no such queue",
            "Is the URL right: region, account and name? Test: aws sqs get-queue-attributes --queue-url …",
        ),
    ):
        if any(sign in text for sign in signs):
            return Fault(f"{found}: {told}", remedy)
    if any(sign in text for sign in _FORBIDDEN):
        remedy = f"Allow on the queue: {', '.join(ACTIONS)}. The policy is in docs/deployment.md."
        return Fault(f"the credentials lack a permission: {told}", remedy, is_permission=True)
    return Fault(text, "See the status of AWS, and the queue in its console.")


def _told(problem: BaseException) -> str:
    """Return what AWS itself says of a refused request."""
    response: Any = getattr(problem, "response", None)
    if not isinstance(response, dict):
        return ""
    error = response.get("Error", {})
    return f"{error.get('Code', '')}: {error.get('Message', '')}"
