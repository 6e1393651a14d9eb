"""Signatures of webhooks, and checking them."""

from __future__ import annotations

import hashlib
import hmac
import time

import pytest

from flask_understudy.contrib.webhooks import SignatureInvalid, sign, verify

SECRET, BODY = "s3cret", b'{"event": "test"}'


@pytest.mark.requirement("P06")
def test_it_is_the_hmac_of_timestamp_dot_body() -> None:
    expected = hmac.new(b"s3cret", b'1700000000.{"event": "test"}', hashlib.sha256).hexdigest()

    assert sign(SECRET, 1700000000, BODY) == sign(SECRET, "1700000000", BODY) == expected


@pytest.mark.requirement("P07")
@pytest.mark.parametrize("scale", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_fresh_signature_is_accepted(scale: int) -> None:
    timestamp = str(int(time.time() * scale))

    verify(SECRET, timestamp, sign(SECRET, timestamp, BODY), BODY)
    verify(SECRET, timestamp, sign(SECRET, timestamp, BODY).upper() + " ", BODY)


@pytest.mark.requirement("P07")
@pytest.mark.parametrize(
    ("seconds", "secret", "body", "text"),
    [
        (0, "other", BODY, "does not fit"),
        (0, SECRET, BODY + b" ", "does not fit"),
        (-301, SECRET, BODY, "more than 300 s ago"),
        (302, SECRET, BODY, "more than 300 s ago"),
    ],
)
def test_what_is_forged_changed_or_replayed_is_refused(seconds: int, secret: str, body: bytes, text: str) -> None:
    timestamp = str(int(time.time()) + seconds)

    with pytest.raises(SignatureInvalid, match=text):
        verify(SECRET, timestamp, sign(secret, timestamp, BODY), body)


@pytest.mark.parametrize("timestamp", ["", "soon", "1e9", "-5", "9" * 40, "²"])
def test_a_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    with pytest.raises(SignatureInvalid, match="no number of seconds"):
        verify(SECRET, timestamp, sign(SECRET, timestamp, BODY), BODY)
