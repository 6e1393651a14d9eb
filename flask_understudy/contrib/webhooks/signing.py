"""HMAC-SHA256 in hex over `timestamp.body`, the bytes exactly as they travel (P06, P07)."""

from __future__ import annotations

import hashlib
import hmac
import time

from ...errors import UnderstudyError

SIGNATURE_HEADER = "X-Webhook-Signature"
TIMESTAMP_HEADER = "X-Webhook-Timestamp"
TOLERANCE_SECONDS = 300


class SignatureInvalid(UnderstudyError):
    """What arrived was not signed with the shared secret, or too long ago."""


def sign(secret: str, timestamp: int | str, body: bytes) -> str:
    """Return the signature of a body.

    Args:
        secret: Shared with the other side.
        timestamp: s since 1970, as sent along.
        body: The bytes that are sent.
    """
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def verify(secret: str, timestamp: str, signature: str, body: bytes, *, tolerance: int = TOLERANCE_SECONDS) -> None:
    """Accept a body that was signed with the secret within the last minutes.

    Args:
        secret: Shared with the other side.
        timestamp: As received: s, or as some senders do it ms, since 1970.
        signature: As received.
        body: The bytes received, before any parsing.
        tolerance: s that the clocks of both sides may differ, and the message may take.

    Raises:
        SignatureInvalid: It is not, or was not.
    """
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 15:
        raise SignatureInvalid("The timestamp is no number of seconds since 1970.")
    seconds = int(timestamp) / (1000 if len(timestamp) > 11 else 1)
    expected = sign(secret, timestamp, body)
    if not hmac.compare_digest(expected.encode(), signature.strip().lower().encode()):
        raise SignatureInvalid("The signature does not fit the body.")
    if abs(time.time() - seconds) > tolerance:
        raise SignatureInvalid(f"It was signed more than {tolerance} s ago or ahead.")
