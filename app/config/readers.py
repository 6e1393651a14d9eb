"""What the text of a setting may be: each reader returns the value, or raises ValueError with what would be valid."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parseaddr
from urllib.parse import urlsplit

from limits import parse_many
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError


def flag(text: str) -> bool:
    """Return whether the text says yes."""
    value = {"1": True, "true": True, "yes": True, "on": True} | dict.fromkeys(("0", "false", "no", "off"), False)
    if text.lower() not in value:
        raise ValueError("true or false")
    return value[text.lower()]


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return parse


def one_of(*names: str) -> Callable[[str], str]:
    """Return a reader of one of these names, in lower case."""

    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError("one of " + ", ".join(names))
        return text.lower()

    return parse


def http_url(text: str) -> str:
    """Return an address of HTTP, without a slash at its end."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError("an address such as https://app.example.com")
    return text.rstrip("/")


def sender(text: str) -> str:
    """Return whom mails are from: an address, or a name and an address."""
    if "@" not in parseaddr(text)[1] or any(c in text for c in "\r\n"):
        raise ValueError('an address such as "My Service" <no-reply@example.com>')
    return text


def names(text: str) -> tuple[str, ...]:
    """Return what stands between commas."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def rate(text: str) -> str:
    """Return limits of requests, as the library `limits` writes them."""
    try:
        parse_many(text)
    except ValueError:
        raise ValueError("limits such as 1200 per minute") from None
    return text


def storage_url(text: str) -> str:
    """Return a folder, or the address of a folder or of a bucket."""
    if "://" in text and not re.fullmatch(r"file:///.+|s3://[^/@?#]+(/[^?#]*)?", text):
        raise ValueError("a folder, file:///folder or s3://bucket/prefix")
    return text


def secret_key(text: str) -> str:
    """Return a key that is not too short."""
    if len(text) < 16:
        raise ValueError("at least 16 characters")
    return text


def database_url(text: str) -> str:
    """Return ``text`` as SQLAlchemy wants it: Heroku's ``postgres://`` means psycopg.

    Raises:
        ValueError: For any database but PostgreSQL and SQLite.
    """
    scheme, separator, rest = text.partition("://")
    url = "postgresql+psycopg://" + rest if scheme in {"postgres", "postgresql", "postgresql+psycopg"} else text
    try:
        is_usable = bool(separator) and make_url(url).get_backend_name() in {"postgresql", "sqlite"}
    except (ValueError, ArgumentError):  # a port that is no number, an address in half brackets
        is_usable = False
    if not is_usable or not url.startswith(("postgresql+psycopg://", "sqlite://")):
        raise ValueError("postgresql://user:password@host:5432/name or sqlite:////path/to/file.db")
    return url


def redis_url(text: str) -> str:
    """Return the address of a Redis or Valkey server."""
    try:
        parts = urlsplit(text)
        database = parts.path.strip("/")
        is_usable = parts.scheme == "unix" or (
            parts.scheme in {"redis", "rediss"} and parts.port != 0 and (database.isdecimal() or not database)
        )
    except ValueError:  # a port that is no number, an address in half brackets
        is_usable = False
    if not is_usable:
        raise ValueError("redis://host:6379/0, or rediss:// for TLS")
    return text
