"""Signatures of webhooks: what the sender puts on, and the check for whoever receives (P06, P07).

Two kinds travel together (C25): HMAC-SHA256 in hex over `timestamp.body` in the `X-Webhook-*` headers, and that of
Standard Webhooks, base64 over `id.timestamp.body`, in the `webhook-*` headers. Both are over the bytes exactly as they
travel.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets as randomness
import time
from collections.abc import Iterable, Mapping

from ...errors import UnderstudyError

SIGNATURE_HEADER = "X-Webhook-Signature"
PREVIOUS_SIGNATURE_HEADER = "X-Webhook-Signature-Previous"
TIMESTAMP_HEADER = "X-Webhook-Timestamp"
EVENT_HEADER = "X-Webhook-Event"
ID_HEADER = "X-Webhook-Id"
TOLERANCE_SECONDS = 300

#: What secrets of Standard Webhooks begin with; the rest is base64.
SECRET_PREFIX = "whsec_"
_SECRET_BYTES = 32
_HEX = re.compile(r"[0-9a-f]{64}")


class SignatureInvalid(UnderstudyError):
    """What arrived was not signed with the shared secret, or too long ago."""


def new_secret() -> str:
    """Return a fresh secret, as Standard Webhooks writes them."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(_SECRET_BYTES)).decode()


def is_readable(secret: str) -> bool:
    """Whether the other side finds a key in a secret: what begins with `whsec_` has to go on in base64."""
    if not secret.startswith(SECRET_PREFIX):
        return True
    try:
        return bool(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except binascii.Error:
        return False


def sign(secret: str, timestamp: int | str, body: bytes) -> str:
    """Return the signature of a body.

    Args:
        secret: Shared with the other side.
        timestamp: s since 1970, as sent along.
        body: The bytes that are sent.
    """
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def sign_standard(secret: str, id: str, timestamp: int | str, body: bytes) -> str:
    """Return the signature of a body as Standard Webhooks has it, `v1,` included.

    Args:
        secret: Shared with the other side. One that begins with `whsec_` is base64 of the key; any other is the key.
        id: The delivery's id, as sent along.
        timestamp: s since 1970, as sent along.
        body: The bytes that are sent.
    """
    mac = hmac.new(_key(secret), f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


def _key(secret: str) -> bytes:
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def headers(secrets: Iterable[str], *, id: str, event: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return both kinds of headers for a body.

    Args:
        secrets: The endpoint's; the second, while a rotation lasts, is the one before.
        id: The delivery's id, the same for all attempts.
        event: The event's name.
        timestamp: s since 1970, of this attempt.
        body: The bytes that are sent.
    """
    first, *others = secrets
    shown = {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign_standard(secret, id, timestamp, body) for secret in (first, *others)),
        SIGNATURE_HEADER: sign(first, timestamp, body),
        TIMESTAMP_HEADER: str(timestamp),
        EVENT_HEADER: event,
        ID_HEADER: id,
    }
    if others:
        shown[PREVIOUS_SIGNATURE_HEADER] = sign(others[0], timestamp, body)
    return shown


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
    seconds = _seconds(timestamp)
    expected = sign(secret, timestamp, body)
    if not hmac.compare_digest(expected.encode(), signature.strip().lower().encode()):
        raise SignatureInvalid("The signature does not fit the body.")
    _check_age(seconds, tolerance)


def verify_headers(
    secrets: str | Iterable[str], received: Mapping[str, str], body: bytes, *, tolerance: int = TOLERANCE_SECONDS
) -> str:
    """Accept a delivery that was signed with one of the secrets, by its headers; return its id.

    The Standard Webhooks signature is checked where there is one, else the hex one. The same id comes again when a
    delivery is repeated: keep it for as long as the tolerance to refuse replays, or for good to do things once.

    Args:
        secrets: The shared secret, or several while they are being changed.
        received: The headers of the request, in any case of letters.
        body: The bytes received, before any parsing.
        tolerance: s that the clocks of both sides may differ, and the message may take.

    Raises:
        SignatureInvalid: It is not.
    """
    given = {name.lower(): value for name, value in received.items()}
    known = [secrets] if isinstance(secrets, str) else list(secrets)
    if not known or not all(known):
        raise SignatureInvalid("There is no secret to check the signature with.")
    is_standard = "webhook-signature" in given
    timestamp = given.get("webhook-timestamp" if is_standard else TIMESTAMP_HEADER.lower(), "")
    id = given.get("webhook-id" if is_standard else ID_HEADER.lower(), "")
    seconds = _seconds(timestamp)
    if is_standard:
        offered = given["webhook-signature"].split()
        expected = [sign_standard(secret, id, timestamp, body) for secret in known]
    else:
        names = (SIGNATURE_HEADER.lower(), PREVIOUS_SIGNATURE_HEADER.lower())
        offered = [text for name in names if _HEX.fullmatch(text := given.get(name, "").strip().lower())]
        expected = [sign(secret, timestamp, body) for secret in known]
    # All are compared, so that the time it takes tells nothing.
    found = [hmac.compare_digest(one.encode(), other.encode()) for one in expected for other in offered[:10]]
    if not any(found):
        raise SignatureInvalid("The signature does not fit the body.")
    _check_age(seconds, tolerance)
    return id


def _seconds(timestamp: str) -> float:
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 15:
        raise SignatureInvalid("The timestamp is no number of seconds since 1970.")
    return int(timestamp) / (1000 if len(timestamp) > 11 else 1)


def _check_age(seconds: float, tolerance: int) -> None:
    if abs(time.time() - seconds) > tolerance:
        raise SignatureInvalid(f"It was signed more than {tolerance} s ago or ahead.")
