"""Secrets in the database: only for who has the key, and only in their own row."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_understudy.contrib.webhooks.errors import SecretUnreadable
from flask_understudy.contrib.webhooks.sealing import Seal
from flask_understudy.errors import ConfigError


def seal(key: str | bytes | None, *fallbacks: str) -> Seal:
    app = Flask("sealing")
    app.config.update(SECRET_KEY=key, SECRET_KEY_FALLBACKS=list(fallbacks) or None)
    return Seal(app)


def test_a_secret_comes_back_and_never_looks_the_same_twice() -> None:
    first, second = (seal("key").seal("s3cret", "tenant/1") for _ in range(2))

    assert first != second and "s3cret" not in first
    assert seal(b"key").open(first, "tenant/1") == seal("key").open(second, "tenant/1") == "s3cret"


@pytest.mark.parametrize("owner", ["tenant/2", "other/1", ""])
def test_a_secret_does_not_open_in_another_row(owner: str) -> None:
    sealed = seal("key").seal("s3cret", "tenant/1")

    with pytest.raises(SecretUnreadable):
        seal("key").open(sealed, owner)


def test_an_earlier_key_opens_while_it_is_a_fallback() -> None:
    sealed = seal("old").seal("s3cret", "tenant/1")

    assert seal("new", "older", "old").open(sealed, "tenant/1") == "s3cret"
    with pytest.raises(SecretUnreadable, match="SECRET_KEY_FALLBACKS"):
        seal("new").open(sealed, "tenant/1")


@pytest.mark.parametrize("sealed", ["", "1.", "1.AAAA", "2.AAAA", "plain text", "1.%%%", "1.A"])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(SecretUnreadable):
        seal("key").open(sealed, "tenant/1")


def test_without_a_key_there_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="SECRET_KEY is not set"):
        seal(None)
