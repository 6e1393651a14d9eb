"""Signatures of webhooks, and checking them."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import standardwebhooks

from flask_understudy.contrib.webhooks import SignatureInvalid, headers, sign, sign_standard, verify, verify_headers
from flask_understudy.contrib.webhooks.signing import new_secret

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


@pytest.mark.requirement("P06", "C25")
@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", new_secret()], ids=["given", "made"])
def test_the_standard_signature_is_that_of_the_standard(secret: str) -> None:
    moment = datetime.now(UTC).replace(microsecond=0)
    expected = standardwebhooks.Webhook(secret).sign("msg_1", moment, BODY.decode())

    assert sign_standard(secret, "msg_1", int(moment.timestamp()), BODY) == expected


def test_a_known_answer() -> None:
    # The example of the specification of Standard Webhooks.
    body = b'{"event_type":"ping","data":{"success":true}}'
    signature = sign_standard("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", 1731705121, body)

    assert signature == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def signed(secrets: list[str], seconds: int = 0) -> dict[str, str]:
    return headers(secrets, id="msg_1", event="a.b", timestamp=int(time.time()) + seconds, body=BODY)


@pytest.mark.requirement("P07")
def test_a_delivery_is_accepted_by_either_kind_of_header() -> None:
    both = signed([SECRET])
    of_theirs = {name: value for name, value in both.items() if name.startswith("webhook-")}
    of_ours = {name.upper(): value for name, value in both.items() if name.startswith("X-")}

    for received in (both, of_theirs, of_ours):
        assert verify_headers(SECRET, received, BODY) == "msg_1"
        assert verify_headers(["new", SECRET], received, BODY) == "msg_1"


@pytest.mark.requirement("P07")
def test_while_a_secret_is_changed_either_opens() -> None:
    both = signed(["new-secret", "old-secret"])
    ours = {name: value for name, value in both.items() if name.startswith("X-")}

    for received in (both, ours):
        for secret in ("new-secret", "old-secret"):
            verify_headers(secret, received, BODY)
        with pytest.raises(SignatureInvalid):
            verify_headers("other-secret", received, BODY)


@pytest.mark.requirement("P07")
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(time.time()) - 100)},
        {"webhook-timestamp": "soon"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1a,AAAA v1,AAAA"},
        {"webhook-signature": "v1,é"},
    ],
)
def test_what_was_changed_on_the_way_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        verify_headers(SECRET, signed([SECRET]) | change, BODY)


@pytest.mark.parametrize("seconds", [-301, 302])
def test_an_old_or_future_delivery_is_refused(seconds: int) -> None:
    with pytest.raises(SignatureInvalid, match="more than 300 s"):
        verify_headers(SECRET, signed([SECRET], seconds), BODY)


@pytest.mark.parametrize("secrets", ["", [], ["", "x"]])
def test_no_secret_accepts_nothing(secrets: str | list[str]) -> None:
    with pytest.raises(SignatureInvalid, match="no secret"):
        verify_headers(secrets, signed([SECRET]), BODY)


def test_checking_brings_neither_tables_nor_what_seals() -> None:
    program = """
import sys
from flask_understudy.contrib.webhooks import verify_headers
from flask_understudy.ledger import metadata
assert not [name for name in metadata.tables if "webhook" in name]
assert not [name for name in sys.modules if name.endswith(("webhooks.sealing", "webhooks.tables"))]
"""

    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[4])
