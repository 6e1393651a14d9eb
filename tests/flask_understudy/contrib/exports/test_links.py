"""S17, S16: links for one export, one user and a quarter of an hour; harmless file names."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from flask_understudy.contrib.exports import (
    LinkExpired,
    LinkInvalid,
    SignedLinks,
    content_disposition,
    safe_name,
)

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
OWNER = {"tenant": "t1", "export": "e1", "user": "u1"}


def test_link_opens_for_whom_it_was_signed() -> None:
    links = SignedLinks("secret")

    links.check(links.sign(**OWNER), **OWNER)


@pytest.mark.parametrize("other", ["tenant", "export", "user"])
def test_link_opens_nothing_else(other: str) -> None:
    links = SignedLinks("secret")
    token = links.sign(**OWNER)

    with pytest.raises(LinkInvalid, match="another"):
        links.check(token, **(OWNER | {other: "x"}))


def test_parts_cannot_be_shifted_into_one_another() -> None:
    links = SignedLinks("secret")
    token = links.sign(tenant="a", export="b", user="c")

    with pytest.raises(LinkInvalid):
        links.check(token, tenant="a\0b", export="c", user="")


def test_link_expires_after_a_quarter_of_an_hour() -> None:
    links = SignedLinks("secret")
    with time_machine.travel(NOW, tick=False):
        token = links.sign(**OWNER)
    with time_machine.travel(NOW + timedelta(minutes=15), tick=False):
        links.check(token, **OWNER)
    with (
        time_machine.travel(NOW + timedelta(minutes=15, seconds=1), tick=False),
        pytest.raises(LinkExpired, match="new one"),
    ):
        links.check(token, **OWNER)


def test_links_of_the_last_key_open_while_keys_rotate() -> None:
    token = SignedLinks("old").sign(**OWNER)

    SignedLinks(["old", "new"]).check(token, **OWNER)
    with pytest.raises(LinkInvalid):
        SignedLinks(["new"]).check(token, **OWNER)
    with pytest.raises(LinkInvalid):
        SignedLinks("old").check(SignedLinks(["old", "new"]).sign(**OWNER), **OWNER)


def test_altered_link_is_refused() -> None:
    links = SignedLinks("secret")
    token = links.sign(**OWNER)

    for position in range(len(token)):
        altered = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        # The last character of a base64 text has bits that mean nothing.
        if (
            base64.urlsafe_b64decode(altered.rpartition(".")[2] + "==")
            == base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")
            and altered.rpartition(".")[0] == token.rpartition(".")[0]
        ):
            continue
        with pytest.raises(LinkInvalid):
            links.check(altered, **OWNER)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "\x00", "é.é.é", "x" * 10_000])
def test_nonsense_is_refused(token: str) -> None:
    with pytest.raises(LinkInvalid):
        SignedLinks("secret").check(token, **OWNER)


def test_token_with_another_purpose_or_algorithm_is_refused() -> None:
    fields = ["t1", "e1", "u1"]
    elsewhere = URLSafeTimedSerializer("secret", salt="elsewhere").dumps(fields)
    sha1 = URLSafeTimedSerializer("secret", salt="flask-understudy.exports").dumps(fields)

    for token in (elsewhere, sha1, SignedLinks("secret", salt="other").sign(**OWNER)):
        with pytest.raises(LinkInvalid):
            SignedLinks("secret").check(str(token), **OWNER)


@pytest.mark.parametrize("keys", ["", [], ["a", ""]])
def test_empty_secret_is_refused(keys: str | list[str]) -> None:
    with pytest.raises(ValueError, match="secret"):
        SignedLinks(keys)


def test_longer_life_is_refused() -> None:
    with pytest.raises(ValueError, match="0:15:00"):
        SignedLinks("secret", max_age=timedelta(hours=1))


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("members-2026.csv", "members-2026.csv"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("con.txt", "_con.txt"),
        ("NUL", "_NUL"),
        ("a\x00.csv", "a.csv"),
        ('x"; rm -rf /', "export"),
        ('a"; rm.csv', "a rm.csv"),
        ("a\r\nSet-Cookie: x=1.csv", "aSet-Cookie x=1.csv"),
        ("exe\u202egpj.csv", "exegpj.csv"),
        ("", "export"),
        ("...", "export"),
        ("naïve €.csv", "naïve €.csv"),
        ("a" * 4096 + ".csv", "a" * 116 + ".csv"),
    ],
)
def test_file_name_is_made_harmless(given_name: str, expected: str) -> None:
    assert safe_name(given_name) == expected


def test_name_in_ascii_needs_one_form() -> None:
    assert content_disposition("a b.csv") == 'attachment; filename="a b.csv"'


def test_other_names_come_in_two_forms() -> None:
    assert content_disposition("naïve €.csv") == (
        "attachment; filename=\"naive .csv\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.csv"
    )


@given(st.text())
def test_header_is_one_line_of_ascii_whatever_the_name(name: str) -> None:
    header = content_disposition(name)

    assert header.isascii() and header.isprintable()
    assert header.count('"') == 2
    assert "/" not in header and "\\" not in header
