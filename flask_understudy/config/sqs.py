"""Where the SQS queue is: the URL that AWS shows of it, and what that tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import ConfigError
from .redacted import redacted

EXAMPLE = "sqs.eu-west-1.amazonaws.com/123456789012/jobs"

_SCHEMES = {"https": "sqs", "http": "sqs+http", "sqs": "sqs", "sqs+http": "sqs+http"}
_REGION = re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.|^([a-z]{2}(?:-[a-z]+)+-\d)\.queue\.")
_PATH = re.compile(r"/(?:[\w./-]+/)?[\w-]{1,80}")


@dataclass(frozen=True, slots=True)
class SqsAddress:
    """An SQS queue.

    Attributes:
        queue_url: As AWS shows it.
        endpoint: Where the API is asked: the same host.
        region: As the host tells it; empty = it does not, and `AWS_REGION` has to.
    """

    queue_url: str
    endpoint: str
    region: str


def sqs_url(key: str, url: str) -> str:
    """Return the URL of an SQS transport: `sqs://…`, or `sqs+http://…` for an emulator without TLS.

    Args:
        key: The setting, for the error.
        url: The queue's URL, `https://…` as AWS shows it, or in the form that is returned.

    Raises:
        ConfigError: It is no URL of a queue, or that of a FIFO queue.
    """
    try:
        parts = urlsplit(url)
        is_queue = bool(parts.hostname) and parts.port != 0 and not parts.username and not parts.query
    except ValueError:
        is_queue = False
    if is_queue and parts.path.endswith(".fifo"):
        raise ConfigError(
            f"{key} is {redacted(url)!r}, a FIFO queue. Make a standard one: its messages only wake workers, and "
            "order and deduplication are the ledger's."
        )
    if not is_queue or parts.scheme not in _SCHEMES or not _PATH.fullmatch(parts.path):
        scheme = "sqs" if key == "UNDERSTUDY_TRANSPORT" else "https"
        raise ConfigError(
            f"{key} is {redacted(url)!r}, which is no SQS queue; it takes a queue's URL, such as {scheme}://{EXAMPLE}."
        )
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path}"


def address_of(url: str) -> SqsAddress:
    """Return what the URL of an SQS transport tells."""
    parts = urlsplit(url)
    endpoint = f"{'http' if parts.scheme == 'sqs+http' else 'https'}://{parts.netloc}"
    found = _REGION.search(parts.hostname or "")
    region = (found[1] or found[2]) if found else ""
    return SqsAddress(endpoint + parts.path, endpoint, region)
